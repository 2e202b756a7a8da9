import { Command } from 'commander'
import { asked, turn } from './arguments.js'
import { type Flags, requestOptions, withModelFlags, withRequestFlags } from './flags.js'
import { talk } from './interactive.js'
import { withModel } from './open.js'
import { INTERRUPTED } from './report.js'
import { remark, say } from './say.js'

const HELP = `
With a question it answers and ends; without one it asks for questions and remembers what was said.
Ctrl-C stops an answer, twice leaves. The answer goes to standard output, thoughts and remarks to standard error.

Examples:
  karst chat photo.jpg "What is in the picture?"
  karst chat before.png after.png "What is different?"
  karst chat --think --temperature 0 chart.png "Which year was best?"
  karst chat --model /models/MiniCPM-V-4_5 letter.jpg
`

/** `karst chat`. */
export function chatCommand(): Command {
  const command = new Command('chat')
    .description('ask about pictures: one question, or a conversation')
    .argument('[pictures and question...]', 'picture files, then the question in quotes')
    .option('--stats', 'say how many tokens it took, and how long')
  withRequestFlags(withModelFlags(command))
  return command.addHelpText('after', HELP).action(chat)
}

async function chat(args: string[], flags: Flags): Promise<void> {
  const { pictures, question } = asked(args)
  await withModel(flags, async (model) => {
    const options = requestOptions(flags)
    const stats = flags.stats === true
    if (question === undefined) return talk(model, pictures, options, stats)
    const controller = interruptible()
    const answer = await say(model, [turn(pictures, question)], { ...options, signal: controller.signal })
    remark(answer, stats)
    if (controller.signal.aborted) process.exitCode = INTERRUPTED
  })
}

/** Ctrl-C stops the answer; again, it leaves without waiting. */
function interruptible(): AbortController {
  const controller = new AbortController()
  process.on('SIGINT', () => {
    if (controller.signal.aborted) process.exit(INTERRUPTED)
    controller.abort()
  })
  return controller
}
