// Rows N4 and N5: aborting, before, during and after; leaving the loop; and what a stream promises besides.

import { getEventListeners } from 'node:events'
import test from 'ava'
import { AbortError, KarstError, load, type Model } from 'karst'
import { ANSWER, ask, ENDLESS, GREEDY, question, refused, stillRight } from './helpers.js'

let model: Model
test.before(async () => {
  model = await load('demo')
})
test.after.always(() => model?.close())

/** An AbortController that counts who listens. */
function abortable() {
  const controller = new AbortController()
  return {
    controller,
    signal: controller.signal,
    listeners: () => getEventListeners(controller.signal, 'abort').length,
  }
}

test('n4_aborted_before_it_begins', async (t) => {
  const reason = new Error('never mind')
  const signal = AbortSignal.abort(reason)
  t.is(await t.throwsAsync(model.chat(question(), { signal })), reason)
  const stream = model.stream(question(), { signal })
  const error = await t.throwsAsync(stream.next(), { instanceOf: AbortError })
  t.is(error.answer.text, '')
  t.is(error.cause, reason)
  t.deepEqual(await stream.next(), { done: true, value: undefined })
  t.is(getEventListeners(signal, 'abort').length, 0)
  await stillRight(t, model)
})

test('n4_aborted_while_the_picture_is_looked_at', async (t) => {
  const { controller, signal, listeners } = abortable()
  const chat = model.chat(question(), { ...ENDLESS, signal })
  setImmediate(() => controller.abort())
  const error = await t.throwsAsync(chat, { any: true })
  t.is(error, signal.reason)
  t.is(signal.reason.name, 'AbortError')
  t.is(listeners(), 0)
  await stillRight(t, model)
})

test('n4_aborted_while_it_is_said', async (t) => {
  const { controller, signal, listeners } = abortable()
  const stream = model.stream(ask('Hello'), { ...ENDLESS, signal })
  let said = ''
  const listen = async () => {
    for await (const event of stream) {
      if (event.type === 'text') said += event.text
      if (said.length > 100) controller.abort('enough')
    }
  }
  const error = await t.throwsAsync(listen, {
    instanceOf: AbortError,
    name: 'AbortError',
    message: 'the request was aborted',
  })
  t.is(error.code, 'aborted')
  t.is(error.cause, 'enough')
  t.true(error.answer.text.startsWith(said), 'what was said until then')
  t.is(error.answer.finishReason, 'abort')
  t.true(error.answer.usage.completionTokens > 0)
  t.is(await t.throwsAsync(stream.answer), error)
  t.is(listeners(), 0)
  await stillRight(t, model)
})

test('n4_aborted_after_the_end', async (t) => {
  const { controller, signal, listeners } = abortable()
  const stream = model.stream(question(), { ...GREEDY, signal })
  const answer = await stream.answer
  t.is(listeners(), 0)
  controller.abort()
  t.is(answer.text, ANSWER)
  t.is((await stream.answer).text, ANSWER)
  const { value } = await stream.next()
  t.deepEqual(value, { type: 'text', text: value?.type === 'text' ? value.text : '' })
  await stillRight(t, model)
})

test('n4_one_signal_for_many_requests', async (t) => {
  const { controller, signal, listeners } = abortable()
  const chats = Array.from({ length: 8 }, () => model.chat(ask('Hello'), { ...ENDLESS, signal }))
  t.is(listeners(), 8)
  setTimeout(() => controller.abort(), 50)
  const ends = await Promise.allSettled(chats)
  for (const end of ends) t.is(end.status === 'rejected' && end.reason, signal.reason)
  t.is(listeners(), 0)
  await stillRight(t, model)
})

test('a_signal_is_an_abort_signal', async (t) => {
  for (const signal of [1, null, {}, new AbortController()]) {
    const wrong = () => model.chat(ask('Hello'), { signal: signal as AbortSignal })
    await refused(t, wrong, 'invalid_option', /option 'signal' takes an AbortSignal, not /)
  }
})

test('n5_leaving_the_loop_ends_the_request', async (t) => {
  const { signal, listeners } = abortable()
  const stream = model.stream(ask('Hello'), { ...ENDLESS, signal })
  for await (const event of stream) if (event.type === 'text') break
  const { finishReason, usage } = await stream.answer
  t.is(finishReason, 'abort')
  t.true(usage.completionTokens < 1000, `${usage.completionTokens} tokens`)
  t.is(listeners(), 0)
  t.deepEqual(await stream.next(), { done: true, value: undefined })
  t.deepEqual(await stream.return(), { done: true, value: undefined })
  await stillRight(t, model)
})

test('n5_a_throw_in_the_loop_ends_the_request', async (t) => {
  const boom = new Error('boom')
  const stream = model.stream(ask('Hello'), ENDLESS)
  const listen = async () => {
    for await (const _ of stream) throw boom
  }
  t.is(await t.throwsAsync(listen), boom)
  t.is((await stream.answer).finishReason, 'abort')
  await stillRight(t, model)
})

test('n5_a_place_is_free_again_after_each_request_that_was_left', async (t) => {
  await using one = await load('demo', { maxRequests: 1 })
  for (let i = 0; i < 20; i += 1) for await (const _ of one.stream(ask('Hello'), ENDLESS)) break
  await stillRight(t, one)
})

test('await_using_ends_a_stream', async (t) => {
  let answer: Promise<{ finishReason: string }>
  {
    await using stream = model.stream(ask('Hello'), ENDLESS)
    await stream.next()
    answer = stream.answer
  }
  t.is((await answer).finishReason, 'abort')
})

test('the_answer_can_be_asked_for_without_a_loop_or_beside_it', async (t) => {
  t.is((await model.stream(question(), GREEDY).answer).text, ANSWER)
  const stream = model.stream(question(), GREEDY)
  const answer = stream.answer
  let said = ''
  for await (const event of stream) if (event.type === 'text') said += event.text
  t.is(said, ANSWER)
  t.is((await answer).text, ANSWER)
})

test('streams_run_at_the_same_time', async (t) => {
  const long = model.stream(ask('Hello'), ENDLESS)
  await long.next()
  const start = performance.now()
  await stillRight(t, model)
  t.true(performance.now() - start < 10_000)
  await long.return()
})

test('a_failed_request_fails_the_loop_and_the_answer_alike', async (t) => {
  const stream = model.stream(ask('word '.repeat(9000)))
  const error = await t.throwsAsync(stream.next(), { instanceOf: KarstError })
  t.is(error.code, 'context_overflow')
  t.is(await t.throwsAsync(stream.answer), error)
  t.deepEqual(await stream.next(), { done: true, value: undefined })
})

test('a_stream_that_nobody_reads_is_no_unhandled_rejection', async (t) => {
  model.stream(ask('word '.repeat(9000)))
  model.stream(question(), { signal: AbortSignal.abort() })
  await new Promise((resolve) => setTimeout(resolve, 50))
  await stillRight(t, model)
})

test('usage_and_timings_are_told', async (t) => {
  const { usage, timings } = await model.chat(question(), { ...GREEDY, thinking: true })
  t.is(usage.imageTokens, 64)
  t.true(usage.promptTokens > 64 && usage.reasoningTokens > 0 && usage.reasoningTokens < usage.completionTokens)
  t.true(timings.preprocess > 0 && timings.firstToken >= timings.preprocess && timings.total >= timings.firstToken)
})
