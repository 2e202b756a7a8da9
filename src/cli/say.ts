import type { Answer } from '../answer.js'
import { AbortError } from '../error.js'
import type { Message } from '../message.js'
import type { Model } from '../model.js'
import type { Options } from '../options.js'
import { counted, dim } from './style.js'

/**
 * Says an answer as it comes: the text on standard output, the thoughts, dim, on standard error. One that was aborted is given
 * as far as it came.
 */
export async function say(model: Model, messages: Message[], options: Options): Promise<Answer> {
  const { stdout, stderr } = process
  let last: 'reasoning' | 'text' | undefined
  try {
    for await (const event of model.stream(messages, options)) {
      if (event.type === 'finish') {
        stdout.write('\n')
        return event.answer
      }
      if (last === 'reasoning' && event.type === 'text') stderr.write('\n')
      last = event.type
      if (event.type === 'text') stdout.write(event.text)
      else stderr.write(dim(event.text, stderr))
    }
  } catch (error) {
    if (last !== undefined) stdout.write('\n')
    if (error instanceof AbortError) return error.answer
    throw error
  }
  throw new Error('a stream ends with its answer')
}

/** What a reader should know of an answer besides its words. */
export function remark(answer: Answer, stats: boolean): void {
  const { finishReason, usage, timings } = answer
  const note = (text: string) => process.stderr.write(`${dim(text, process.stderr)}\n`)
  if (finishReason === 'length')
    note(`(cut after ${counted(usage.completionTokens, 'token')}; --max-tokens sets the limit)`)
  if (!stats) return
  const decoding = timings.total - timings.firstToken
  const rate = decoding > 0 ? `${(((usage.completionTokens - 1) / decoding) * 1000).toFixed(1)} tokens/s` : 'no rate'
  note(
    `(prompt ${counted(usage.promptTokens, 'token')}, ${usage.imageTokens} of pictures; answer ${usage.completionTokens}, ` +
      `${usage.reasoningTokens} of thoughts; first after ${timings.firstToken.toFixed(0)} ms, then ${rate})`,
  )
}
