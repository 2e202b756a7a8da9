// The public types, held by the compiler: each line marked with an expected error must be one. The program is only typed, not run.

import test from 'ava'
import {
  AbortError,
  type Answer,
  type Event,
  frames,
  image,
  KarstError,
  load,
  type Message,
  type Model,
  type Options,
} from 'karst'

/** Never called: what a user may and may not write. */
async function written(model: Model): Promise<void> {
  const messages: Message[] = [
    { role: 'system', content: 'Answer briefly.' },
    { role: 'user', content: ['text', image('a.png', { maxSlices: 4, background: [0, 0, 0], orientation: 'ignore' })] },
    { role: 'assistant', content: 'yes', reasoning: 'hm' },
    { role: 'user', content: [frames(['a.png', new Uint8Array()], { times: [0, 0.5], packing: 2 }), 'text'] },
  ]
  const options: Options = { thinking: true, maxTokens: 1, stop: ['x'], signal: AbortSignal.timeout(1), logprobs: 2 }
  const answer: Answer = await model.chat(messages, options)
  const reasoning: string | undefined = answer.reasoning
  const stream: AsyncIterable<Event> & { answer: Promise<Answer> } = model.stream(messages)
  for await (const event of stream) if (event.type === 'finish') event.answer.usage.promptTokens satisfies number
  await using other = await load('demo', {
    device: 'cuda:1',
    onProgress: ({ phase, done, total }) => [phase, done, total],
  })
  await load('/any/folder')
  // @ts-expect-error: a list, not one message
  await other.chat({ role: 'user', content: 'x' })
  // @ts-expect-error: no such role
  await other.chat([{ role: 'tool', content: 'x' }])
  // @ts-expect-error: no such option
  await other.chat(messages, { top_p: 1 })
  // @ts-expect-error: a part is made by image() or frames()
  await other.chat([{ role: 'user', content: [{ type: 'image' }] }])
  // @ts-expect-error: no timing
  frames(['a.png'], {})
  // @ts-expect-error: no such device
  await load('demo', { device: 'gpu' })
  // @ts-expect-error: what it is does not change
  model.info = other.info
  return void reasoning
}

test('errors_can_be_told_apart', (t) => {
  t.is(typeof written, 'function')
  const error: Error = new KarstError('closed', 'x', { hint: 'y' })
  t.true(error instanceof KarstError && error.code === 'closed' && error.hint === 'y')
  t.false(error instanceof AbortError)
  t.deepEqual(Object.keys(new KarstError('closed', 'x')), ['name', 'code'])
})
