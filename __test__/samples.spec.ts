// The samples of the demo model through the public API: a picture's bytes to the words of an answer, every token as the reference
// implementation chose it. An answer is right only if every stage is.

import { readFileSync } from 'node:fs'
import test from 'ava'
import { frames, image, load, type Message, type Options } from 'karst'
import { sample } from './helpers.js'

interface Sample {
  id: string
  messages: { role: Message['role']; content: string | { text?: string; image?: string }[] }[]
  options: {
    enable_thinking?: boolean
    use_image_id?: boolean
    max_slice_nums?: number
    temporal_ids?: number[][]
  }
  answer: string
  greedy_ids: number[]
  prompt_tokens: number
  grids: [number, number][]
}

const samples = JSON.parse(readFileSync(sample('samples.json'), 'utf8')) as Sample[]

/** The reference takes a clip as pictures and one option, the API as one part. */
function content(parts: Sample['messages'][number]['content'], { temporal_ids, max_slice_nums }: Sample['options']) {
  if (typeof parts === 'string') return parts
  const pictures = parts.flatMap((part) => (part.image === undefined ? [] : [sample(part.image)]))
  const texts = parts.flatMap((part) => (part.text === undefined ? [] : [part.text]))
  if (temporal_ids === undefined) return [...pictures.map((path) => image(path)), ...texts]
  return [frames(pictures, { temporalIds: temporal_ids, maxSlices: max_slice_nums }), ...texts]
}

function options({ enable_thinking, use_image_id, max_slice_nums }: Sample['options']): Options {
  const greedy: Options = { temperature: 0, repetitionPenalty: 1, logprobs: 0 }
  return { ...greedy, thinking: enable_thinking, imageIds: use_image_id, maxSlices: max_slice_nums }
}

function conversation({ messages, options }: Sample): Message[] {
  return messages.map((message) => ({ role: message.role, content: content(message.content, options) }))
}

test('there_are_27_samples', (t) => {
  t.is(samples.length, 27)
})

for (const wanted of samples) {
  test(`sample_${wanted.id.replaceAll('-', '_')}_is_answered_as_listed`, async (t) => {
    await using model = await load('demo')
    const messages = conversation(wanted)
    const answer = await model.chat(messages, options(wanted.options))
    const [thoughts, text] = wanted.answer.includes('</think>')
      ? wanted.answer.split('</think>')
      : [undefined, wanted.answer]
    t.is(answer.text, text?.trimStart() ?? '')
    t.is(answer.reasoning?.trim(), thoughts?.trim())
    t.is(answer.finishReason, 'stop')
    t.deepEqual(
      answer.logprobs?.map(({ chosen }) => chosen.id),
      wanted.greedy_ids,
    )
    t.is(answer.usage.promptTokens, wanted.prompt_tokens)
    t.is(answer.usage.completionTokens, wanted.greedy_ids.length)
    const plan = await model.inspect(messages, {
      maxSlices: wanted.options.max_slice_nums,
      imageIds: wanted.options.use_image_id,
      thinking: wanted.options.enable_thinking,
    })
    t.is(plan.promptTokens, wanted.prompt_tokens)
    const grids = plan.parts.flatMap(({ groups }) =>
      groups.flatMap(({ views, frames }) => Array(frames).fill(views).flat()),
    )
    t.deepEqual(
      grids.map(({ width, height }) => [height / 14, width / 14]),
      wanted.grids,
    )
  })
}

test('the_stream_says_what_the_answer_holds', async (t) => {
  await using model = await load('demo')
  for (const wanted of samples) {
    const said = { text: '', reasoning: '' }
    let ends = 0
    const stream = model.stream(conversation(wanted), options(wanted.options))
    for await (const event of stream) {
      t.is(ends, 0, 'nothing follows the end')
      if (event.type === 'finish') ends += 1
      else said[event.type] += event.text
    }
    const answer = await stream.answer
    t.is(ends, 1)
    t.is(said.text, answer.text)
    t.is(said.reasoning, answer.reasoning ?? '')
  }
})

test('requests_at_the_same_time_do_not_disturb_each_other', async (t) => {
  await using model = await load('demo')
  const answers = await Promise.all(samples.map((wanted) => model.chat(conversation(wanted), options(wanted.options))))
  const ids = answers.map((answer) => answer.logprobs?.map(({ chosen }) => chosen.id))
  t.deepEqual(
    ids,
    samples.map(({ greedy_ids }) => greedy_ids),
  )
})
