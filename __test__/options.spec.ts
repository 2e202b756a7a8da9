// Rows A1, A3, A4, A7, A8 and A9, and the wrong types of N10: every option at its ends and beyond them, refused by name and range.

import test from 'ava'
import { KarstError, load, type Model, type Options } from 'karst'
import { errorTable, optionTable } from '../index.js'
import { ask, GREEDY, refused, stillRight } from './helpers.js'

let model: Model
test.before(async () => {
  model = await load('demo')
})
test.after.always(() => model?.close())

/** Options as no TypeScript would let them through. */
const wrong = (options: unknown) => () => model.chat(ask('Hello'), options as Options)

test('every_option_is_refused_beyond_its_ends_by_name_and_range', async (t) => {
  for (const { name, kind, min, max } of optionTable()) {
    if (min === undefined || max === undefined) continue
    const beyond = [min - 1, max * 2 + 1, -1e12, 1e300, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
    for (const value of kind === 'integer' ? [...beyond, min + 0.5, 1e-320] : beyond) {
      const range = new RegExp(`option '${name}' takes a .*number from ${min} to ${max}, not `)
      await refused(t, wrong({ [name]: value }), 'invalid_option', range)
    }
  }
  await stillRight(t, model)
})

test('every_option_is_taken_at_its_ends', async (t) => {
  for (const { name, kind, min, max } of optionTable()) {
    const ends = kind === 'boolean' ? [true, false] : kind === 'strings' ? ['x', ['x', 'y'], []] : [min, max]
    for (const value of ends) {
      const plan = await model.inspect(ask('Hello'), { [name]: value })
      t.true(plan.promptTokens > 0, `${name} = ${value}`)
    }
  }
})

test('every_option_refuses_every_other_type', async (t) => {
  const values: [string, unknown][] = [
    ['string', 'x'],
    ['boolean', true],
    ['number', 1],
    ['null', null],
    ['object', {}],
    ['symbol', Symbol('x')],
    ['bigint', 1n],
    ['function', () => 1],
    ['date', new Date()],
    ['list', [1]],
    ['numeric string', '3'],
  ]
  const fits: Record<string, string[]> = {
    boolean: ['boolean'],
    integer: ['number'],
    number: ['number'],
    strings: ['string', 'numeric string'],
  }
  for (const { name, kind } of optionTable()) {
    for (const [type, value] of values) {
      if (fits[kind]?.includes(type)) continue
      await refused(t, wrong({ [name]: value }), 'invalid_option', new RegExp(`option '${name}' takes .*, not `))
    }
  }
  await stillRight(t, model)
})

test('an_unknown_option_is_refused_with_the_nearest', async (t) => {
  const near = { top_p: 'topP', max_tokens: 'maxTokens', Temperature: 'temperature', sginal: 'signal', stops: 'stop' }
  for (const [name, nearest] of Object.entries(near)) {
    const words = new RegExp(`^unknown option '${name}'; did you mean '${nearest}'\\?$`)
    const error = await refused(t, wrong({ [name]: 1 }), 'invalid_option', words)
    t.regex(error.hint ?? '', /thinking, maxTokens, .*signal/)
  }
  for (const name of ['chat_template', 'n', 'prompt_logprobs', 'image_embeds', '__proto__x', '']) {
    await refused(t, wrong({ [name]: 1 }), 'invalid_option', /^unknown option '/)
  }
})

test('options_are_an_object', async (t) => {
  for (const options of [null, 1, 'x', true, [], Symbol('x'), () => ({})]) {
    await refused(t, wrong(options), 'invalid_option', /^options are an object, not /)
  }
  t.is((await model.chat(ask('Hello'), undefined)).finishReason, 'stop')
  t.is((await model.chat(ask('Hello'), { ...GREEDY, maxTokens: undefined })).finishReason, 'stop')
})

test('options_that_run_foreign_code_are_read_once_and_their_errors_are_told', async (t) => {
  const boom = new Error('boom')
  const getter = Object.defineProperty({}, 'topP', {
    enumerable: true,
    get() {
      throw boom
    },
  })
  const error = await refused(t, wrong(getter), 'invalid_option', /^option 'topP' cannot be read: boom$/)
  t.is(error.cause, boom)
  const traps = new Proxy({}, { ownKeys: () => { throw boom } }) // biome-ignore format: one trap, one line
  await refused(t, wrong(traps), 'invalid_option', /^options cannot be read: boom$/)
  const revoked = Proxy.revocable({}, {})
  revoked.revoke()
  await refused(t, wrong(revoked.proxy), 'invalid_option', /./)
  let reads = 0
  const counted = { get maxTokens() { reads += 1; return 3 } } // biome-ignore format: one getter, one line
  const answer = await model.chat(ask('Hello'), counted)
  t.is(reads, 1)
  t.is(answer.usage.completionTokens, 3)
  await stillRight(t, model)
})

test('a8_stops_are_counted_and_measured', async (t) => {
  await refused(t, wrong({ stop: Array(17).fill('x') }), 'invalid_option', /option 'stop': at most 16 strings, 17/)
  await refused(
    t,
    wrong({ stop: 'x'.repeat(257) }),
    'invalid_option',
    /option 'stop': a string of 257 bytes, at most 256/,
  )
  await refused(t, wrong({ stop: [''] }), 'invalid_option', /option 'stop': a stop string is empty/)
  await refused(t, wrong({ stop: Array(1e9) }), 'invalid_option', /option 'stop' .* not a list of 1000000000 items/)
  await refused(t, wrong({ stop: ['a', 1] }), 'invalid_option', /option 'stop' .* not a list with the number 1/)
  await refused(t, wrong({ stop: 'x'.repeat(1e8) }), 'invalid_option', /not a string of 100000000 characters/)
  const answer = await model.chat(ask('Hello'), { ...GREEDY, stop: ['simple shapes'] })
  t.is(answer.text, 'Hello. Show me a picture of ')
  t.is(answer.finishReason, 'stop')
  await stillRight(t, model)
})

test('a3_max_tokens_ends_an_answer', async (t) => {
  const answer = await model.chat(ask('Hello'), { ...GREEDY, maxTokens: 2 })
  t.is(answer.finishReason, 'length')
  t.is(answer.usage.completionTokens, 2)
})

test('a9_a_seed_makes_sampling_repeatable', async (t) => {
  const seeded: Options = { temperature: 2, topP: 1, topK: 0, repetitionPenalty: 0.7, maxTokens: 60 }
  const say = async (seed: number) => (await model.chat(ask('Hello'), { ...seeded, seed })).text
  t.is(await say(7), await say(7))
  const several = await Promise.all([1, 2, 3, 4, 5, 6].map(say))
  t.true(new Set(several).size > 1, 'different seeds give different answers')
})

test('logprobs_are_given_for_each_token', async (t) => {
  const answer = await model.chat(ask('Hello'), { ...GREEDY, logprobs: 3 })
  t.is(answer.logprobs?.length, answer.usage.completionTokens)
  for (const { chosen, top } of answer.logprobs ?? []) {
    t.is(top.length, 3)
    t.true(chosen.logprob <= 0 && top.every(({ logprob }) => logprob <= 0))
    t.is(top[0]?.id, chosen.id)
  }
  t.is(
    answer.logprobs
      ?.slice(0, -1)
      .map(({ chosen }) => chosen.text)
      .join(''),
    answer.text,
  )
  t.is((await model.chat(ask('Hello'), GREEDY)).logprobs, undefined)
})

test('every_code_of_the_table_is_one_of_the_types', (t) => {
  for (const { code, exitCode, httpStatus } of errorTable()) {
    t.regex(code, /^[a-z_]+$/)
    t.true(exitCode > 0 && exitCode < 256 && httpStatus >= 400)
  }
  t.true(new KarstError('internal', 'x') instanceof Error)
})
