#!/usr/bin/env node
import { createRequire } from 'node:module'
import { Command, CommanderError } from 'commander'
import { chatCommand } from './chat.js'
import { inspectCommand } from './inspect.js'
import { complain, exitCodeOf, USAGE } from './report.js'

const { version } = createRequire(import.meta.url)('../../package.json') as { version: string }

const EXAMPLES = `
Examples:
  karst chat photo.jpg "What is in the picture?"     one question
  karst chat photo.jpg                               ask, and ask on
  karst inspect                                      the device, the model, its memory and limits
  karst inspect photo.jpg "What is it?"              what a picture and a question become

The demo model comes with karst and knows simple shapes, short texts and clips. For everything else give the folder of
MiniCPM-V 4.5, as published: --model /models/MiniCPM-V-4_5
`

function program(): Command {
  const karst = new Command('karst')
    .description('Ask MiniCPM-V 4.5 about pictures, on this machine.')
    .version(version, '-V, --version', 'print the version')
    .helpCommand(false)
    .addHelpText('after', EXAMPLES)
  for (const command of [chatCommand(), inspectCommand()]) karst.addCommand(command)
  for (const command of [karst, ...karst.commands]) {
    command
      .helpOption('-h, --help', 'print this help')
      .exitOverride()
      .showSuggestionAfterError(true)
      .showHelpAfterError('(--help shows what there is)')
  }
  return karst
}

async function main(args: string[]): Promise<number> {
  // A reader that has seen enough, such as `head`, is no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0)
    throw error
  })
  const karst = program()
  try {
    if (args.length === 0) karst.outputHelp()
    else await karst.parseAsync(args, { from: 'user' })
    return Number(process.exitCode ?? 0)
  } catch (error) {
    // The parser has said what is wrong, or shown the help that was asked for.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE
    complain(error)
    return exitCodeOf(error)
  }
}

process.exitCode = await main(process.argv.slice(2))
