// What load() takes and refuses. The rows of damaged checkpoints stand in crates/checkpoint; here is that they reach JavaScript.

import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { type ErrorCode, type LoadOptions, load, type Progress } from 'karst'
import { ask, GREEDY, refused, root, stillRight } from './helpers.js'

const DEMO = join(root, 'models', 'demo')

/** A copy of the demo model that a test may spoil. */
function copy(): string {
  const folder = mkdtempSync(join(tmpdir(), 'karst-'))
  cpSync(DEMO, folder, { recursive: true })
  return folder
}

test('the_demo_and_its_folder_are_the_same_model', async (t) => {
  await using demo = await load('demo')
  await using folder = await load(DEMO)
  t.deepEqual(demo.info.model, folder.info.model)
  t.is(demo.info.model.name, 'demo')
  t.is(demo.info.device.name, 'cpu')
  t.true(demo.info.device.why.length > 0 && demo.info.device.description.length > 0)
  t.true(demo.info.memory.weights > 1e6 && demo.info.memory.cache > 1e6)
  await stillRight(t, demo)
  await stillRight(t, folder)
})

test('a_model_that_is_not_there_is_told_so', async (t) => {
  await refused(t, () => load('/no/such/folder'), 'model_not_found', /no\/such\/folder/)
  await refused(t, () => load(''), 'model_not_found', /./)
  const hub = await refused(
    t,
    () => load('openbmb/MiniCPM-V-4_5'),
    'model_not_found',
    /looks like a model's name on a hub/,
  )
  t.regex(hub.hint ?? '', /pass their folder/)
  for (const model of [undefined, null, 1, {}, new URL('file:///x')]) {
    await refused(t, () => load(model as string), 'model_not_found', /^a model is 'demo' or a folder, not /)
  }
})

test('a_damaged_checkpoint_is_told_so_and_the_next_one_loads', async (t) => {
  const spoil: [ErrorCode, (folder: string) => void][] = [
    ['model_not_found', (folder) => rmSync(join(folder, 'config.json'))],
    ['model_not_found', (folder) => rmSync(join(folder, 'model.safetensors'))],
    ['model_not_found', (folder) => rmSync(join(folder, 'tokenizer.json'))],
    ['invalid_checkpoint', (folder) => writeFileSync(join(folder, 'config.json'), '{')],
    ['invalid_checkpoint', (folder) => writeFileSync(join(folder, 'tokenizer.json'), '{}')],
    ['invalid_checkpoint', (folder) => truncateSync(join(folder, 'model.safetensors'), 4_000_000)],
    ['invalid_checkpoint', (folder) => truncateSync(join(folder, 'model.safetensors'), 4)],
    ['invalid_checkpoint', (folder) => writeFileSync(join(folder, 'model.safetensors'), Buffer.alloc(64, 255))],
    [
      'invalid_checkpoint',
      (folder) => {
        const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'))
        writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, hidden_size: 1e15 }))
      },
    ],
  ]
  for (const [code, damage] of spoil) {
    const folder = copy()
    damage(folder)
    await refused(t, () => load(folder), code, /./)
    rmSync(folder, { recursive: true })
  }
  const empty = mkdtempSync(join(tmpdir(), 'karst-'))
  mkdirSync(join(empty, 'config.json'))
  await refused(t, () => load(empty), 'invalid_checkpoint', /config\.json/)
  rmSync(empty, { recursive: true })
  await using model = await load('demo')
  await stillRight(t, model)
})

test('the_options_of_a_model_are_refused_by_name', async (t) => {
  const wrong = (options: unknown) => () => load('demo', options as LoadOptions)
  await refused(t, wrong({ gpu: 1 }), 'invalid_option', /^unknown option 'gpu'/)
  await refused(t, wrong({ max_context: 1 }), 'invalid_option', /did you mean 'maxContext'\?/)
  await refused(t, wrong({ onprogress: 1 }), 'invalid_option', /did you mean 'onProgress'\?/)
  for (const device of ['gpu', 'cuda', 'cuda:', 'cuda:-1', 'cuda:x', 1, null]) {
    await refused(
      t,
      wrong({ device }),
      'invalid_option',
      /option 'device' takes 'auto', 'cpu' or 'cuda:' and a number, not /,
    )
  }
  await refused(t, wrong({ device: 'cuda:0' }), 'device_unavailable', /^device cuda:0 cannot be used: .*(CUDA|NVIDIA)/)
  for (const maxContext of [0, -1, 1.5, '8192', Number.NaN, 1e12]) {
    await refused(t, wrong({ maxContext }), 'invalid_option', /option 'maxContext' takes a whole number/)
  }
  await refused(t, wrong({ maxContext: 40_961 }), 'invalid_option', /maxContext is 40961; it takes 1 to 40960/)
  await refused(t, wrong({ maxRequests: 65 }), 'invalid_option', /maxRequests is 65; it takes 1 to 64/)
  await refused(t, wrong({ onProgress: 1 }), 'invalid_option', /option 'onProgress' takes a function, not the number 1/)
  await refused(t, wrong({ signal: {} }), 'invalid_option', /option 'signal' takes an AbortSignal, not an object/)
  await using model = await load('demo', { device: 'cpu', maxContext: 512, maxRequests: 2 })
  t.is(model.info.limits.maxContext, 512)
  t.is(model.info.limits.maxRequests, 2)
  await stillRight(t, model)
})

test('loading_reports_progress', async (t) => {
  const steps: Progress[] = []
  await using model = await load('demo', { onProgress: (step) => steps.push(step) })
  t.true(steps.length > 0)
  for (const { phase, done, total } of steps) t.true(phase.length > 0 && done >= 0 && done <= total)
  await stillRight(t, model)
})

test('a_listener_that_throws_fails_the_load', async (t) => {
  const boom = new Error('boom')
  const thrower = () => {
    throw boom
  }
  t.is(await t.throwsAsync(load('demo', { onProgress: thrower })), boom)
})

test('loading_is_given_up_by_its_signal', async (t) => {
  const reason = new Error('no more')
  t.is(await t.throwsAsync(load('demo', { signal: AbortSignal.abort(reason) })), reason)
  const controller = new AbortController()
  const loading = load('demo', { signal: controller.signal })
  setImmediate(() => controller.abort(reason))
  t.is(await t.throwsAsync(loading), reason)
  await using model = await load('demo')
  await stillRight(t, model)
})

test('r9_a_closed_model_says_so_and_closing_twice_is_closing_once', async (t) => {
  const model = await load('demo')
  const running = model.stream(ask('Hello'), { repetitionPenalty: 0.5, temperature: 0, maxTokens: 8000 })
  await running.next()
  await Promise.all([model.close(), model.close()])
  await model.close()
  const error = await refused(t, () => running.answer, 'closed', /closed/)
  t.true((error.answer?.text.length ?? 0) > 0, 'what was said until then')
  await refused(t, () => model.chat(ask('Hello'), GREEDY), 'closed', /closed/)
  t.is(model.info.model.name, 'demo')
})
