// Rows N1, N2, N6 and N7, each in a process of its own, because what they break is the process.

import { writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import test from 'ava'
import { ANSWER, ENDLESS, GREEDY, node, program, root, sample } from './helpers.js'
import { png } from './png.js'

/** So often, because a race shows itself now and then. */
const TIMES = 5

const EXITS: [string, string, number][] = [
  ['while_it_loads', `load('demo'); setImmediate(() => process.exit(7))`, 7],
  ['at_the_start', `const model = await load('demo'); model.stream(question, ENDLESS); process.exit(7)`, 7],
  [
    'before_the_first_token',
    `const model = await load('demo'); const s = model.stream(hello, ENDLESS); s.next(); setImmediate(() => process.exit(7))`,
    7,
  ],
  [
    'in_the_middle',
    `const model = await load('demo'); for await (const _ of model.stream(hello, ENDLESS)) process.exit(7)`,
    7,
  ],
  [
    'in_the_middle_of_many',
    `const model = await load('demo')
     const streams = [1, 2, 3, 4, 5, 6].map(() => model.stream(hello, ENDLESS))
     for (const stream of streams) stream.answer.catch(() => {})
     setTimeout(() => process.exit(7), 60)`,
    7,
  ],
  [
    'at_the_end',
    `const model = await load('demo')
     for await (const event of model.stream(question, GREEDY)) if (event.type === 'finish') process.exit(7)`,
    7,
  ],
  [
    'while_it_closes',
    `const model = await load('demo'); model.stream(hello, ENDLESS); model.close(); process.exit(7)`,
    7,
  ],
  [
    'by_a_throw',
    `const model = await load('demo'); for await (const _ of model.stream(hello, ENDLESS)) throw new Error('boom')`,
    1,
  ],
  [
    'by_a_throw_elsewhere',
    `const model = await load('demo'); setTimeout(() => { throw new Error('boom') }, 30); await model.chat(hello, ENDLESS)`,
    1,
  ],
  ['by_itself_with_an_open_model', `const model = await load('demo'); await model.chat(question, GREEDY)`, 0],
]

for (const [when, text, wanted] of EXITS) {
  test(`n1_the_process_exits_${when}`, async (t) => {
    for (let i = 0; i < TIMES; i += 1) {
      const { code, signal, stderr } = await program(text)
      t.is(signal, null, stderr)
      t.is(code, wanted, stderr)
    }
  })
}

test('n1_the_process_is_interrupted_while_generating', async (t) => {
  const text = `
    const model = await load('demo')
    for await (const event of model.stream(hello, ENDLESS)) if (event.type === 'text') process.stdout.write(event.text)
  `
  for (const wanted of ['SIGINT', 'SIGTERM'] as const) {
    const ended = await program(text, [], { heard: (_, child) => child.kill(wanted) })
    t.is(ended.signal, wanted, ended.stderr)
  }
})

/** A worker that answers a question and tells its answer; an endless one then goes on. */
const WORKER = `
  const { parentPort, workerData } = require('node:worker_threads')
  import(workerData.karst).then(async ({ load, image }) => {
    const model = await load('demo')
    const question = [{ role: 'user', content: [image(workerData.picture), 'What is in the picture?'] }]
    parentPort.postMessage((await model.chat(question, ${JSON.stringify(GREEDY)})).text)
    if (workerData.endless) for await (const _ of model.stream([{ role: 'user', content: 'Hello' }], ${JSON.stringify(ENDLESS)})) parentPort.postMessage('said')
    if (workerData.close) await model.close()
  })
`

/** Runs `main`, which starts workers with `start`; karst is loaded there, too, if it `loads`. */
function withWorkers(main: string, loads: boolean) {
  const starts = `
    import { Worker } from 'node:worker_threads'
    import { once } from 'node:events'
    const workerData = ${JSON.stringify({ karst: pathToFileURL(join(root, 'dist', 'index.js')).href, picture: sample('circle-square.png') })}
    const start = (data) => new Worker(${JSON.stringify(WORKER)}, { eval: true, execArgv: [], workerData: { ...workerData, ...data } })
  `
  return loads ? program(starts + main) : node(['--input-type=module', '--eval', starts + main])
}

test('n2_models_in_the_main_thread_and_four_workers', async (t) => {
  const { code, signal, stdout, stderr } = await withWorkers(
    `
    const model = await load('demo')
    const started = [start({ endless: true }), start({ close: true }), start({}), start({ close: true })]
    const answers = started.map((worker) => once(worker, 'message'))
    const ends = started.map((worker) => once(worker, 'exit'))
    for (const answer of answers) console.log((await answer)[0])
    await once(started[0], 'message')
    console.log('terminated', await started[0].terminate())
    for (const end of ends) await end
    console.log((await model.chat(question, GREEDY)).text)
    await model.close()
  `,
    true,
  )
  t.is(signal, null, stderr)
  t.is(code, 0, stderr)
  t.deepEqual(stdout.trim().split('\n'), [ANSWER, ANSWER, ANSWER, ANSWER, 'terminated 1', ANSWER])
})

test('n2_a_model_in_a_worker_only', async (t) => {
  const { code, signal, stdout, stderr } = await withWorkers(
    `
    for (const data of [{}, { close: true }, { endless: true }]) {
      const worker = start(data)
      const end = once(worker, 'exit')
      console.log((await once(worker, 'message'))[0])
      if (data.endless) await once(worker, 'message').then(() => worker.terminate())
      await end
    }
    console.log('done')
  `,
    false,
  )
  t.is(signal, null, stderr)
  t.is(code, 0, stderr)
  t.deepEqual(stdout.trim().split('\n'), [ANSWER, ANSWER, ANSWER, 'done'])
})

test('n2_the_process_exits_while_workers_generate', async (t) => {
  for (let i = 0; i < TIMES; i += 1) {
    const { code, signal, stderr } = await withWorkers(
      `
      const started = [start({ endless: true }), start({ endless: true })]
      await Promise.all(started.map((worker) => once(worker, 'message')))
      await once(started[1], 'message')
      process.exit(7)
    `,
      true,
    )
    t.is(signal, null, stderr)
    t.is(code, 7, stderr)
  }
})

test('n6_a_stream_outlives_its_forgotten_model', async (t) => {
  const { code, stdout, stderr } = await program(
    `
    let model = await load('demo')
    const stream = model.stream(hello, { ...ENDLESS, maxTokens: 400 })
    const forgotten = new WeakRef(model)
    model = undefined
    let pieces = 0
    for await (const event of stream) {
      global.gc()
      await new Promise(setImmediate)
      pieces += 1
      if (event.type === 'finish') console.log(event.answer.finishReason, event.answer.usage.completionTokens)
    }
    console.log(forgotten.deref() === undefined, pieces > 3)
    `,
    ['--expose-gc'],
  )
  t.is(code, 0, stderr)
  t.is(stdout, 'length 400\ntrue true\n')
})

test('n6_forgotten_models_and_streams_free_their_memory', async (t) => {
  const { code, stdout, stderr } = await program(
    `
    async function once() {
      const model = await load('demo', { maxContext: 2048 })
      const stream = model.stream(hello, ENDLESS)
      await stream.next()
    }
    const collect = async () => {
      for (let i = 0; i < 5; i++) {
        global.gc()
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }
    for (let i = 0; i < 5; i++) await once().then(collect)
    const before = process.memoryUsage().rss
    for (let i = 0; i < 30; i++) await once().then(collect)
    const grown = (process.memoryUsage().rss - before) / 2 ** 20
    // One model has 8 MiB of weights and 48 to 96 of keys and values, and memory is given back a little late.
    console.log(grown < 120 ? 'flat' : 'grown by ' + grown + ' MiB in 30 models')
    process.exit(0)
    `,
    ['--expose-gc'],
  )
  t.is(code, 0, stderr)
  t.is(stdout, 'flat\n')
})

test('n6_bytes_may_be_changed_or_taken_away_after_image', async (t) => {
  const { code, stdout, stderr } = await program(
    `
    import { readFileSync } from 'node:fs'
    const file = readFileSync(process.env.PICTURE)
    const model = await load('demo')
    const ask = (part) => model.chat([{ role: 'user', content: [part, 'What is in the picture?'] }], GREEDY)
    const changed = Buffer.from(file)
    const first = image(changed)
    changed.fill(0)
    const taken = new Uint8Array(file)
    const second = image(taken)
    structuredClone(taken.buffer, { transfer: [taken.buffer] })
    let lost = new Uint8Array(file)
    const third = ask(image(lost))
    lost = undefined
    global.gc()
    for (const answer of [ask(first), ask(second), third]) console.log((await answer).text)
    try {
      image(taken) && (await ask(image(taken)))
    } catch (error) {
      console.log(error.code)
    }
    await model.close()
    `,
    ['--expose-gc'],
    { env: { PICTURE: new URL('../models/samples/circle-square.png', import.meta.url).pathname } },
  )
  t.is(code, 0, stderr)
  t.is(stdout, `${ANSWER}\n${ANSWER}\n${ANSWER}\ninvalid_picture\n`)
})

test('n7_the_event_loop_stays_free', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'karst-'))
  const photo = join(folder, 'photo.png')
  // Twelve megapixels take some hundred milliseconds to decode and cut; on the event loop that would be seen.
  writeFileSync(
    photo,
    png(4000, 3000, 3, (x, y) => [(x * y) & 255, (x ^ y) & 255, (x + y) & 255]),
  )
  const { code, stdout, stderr } = await program(
    `
    import { monitorEventLoopDelay } from 'node:perf_hooks'
    import { readFileSync } from 'node:fs'
    const bytes = readFileSync(process.env.PHOTO)
    const delay = monitorEventLoopDelay({ resolution: 1 })
    await new Promise((resolve) => setTimeout(resolve, 50))
    delay.enable()
    const start = performance.now()
    const model = await load('demo')
    const answer = await model.chat([{ role: 'user', content: [image(bytes, { maxSlices: 1 }), 'What is in the picture?'] }], { ...GREEDY, maxTokens: 8 })
    delay.disable()
    console.log(JSON.stringify({ p99: delay.percentile(99) / 1e6, took: performance.now() - start, preprocess: answer.timings.preprocess }))
    await model.close()
    `,
    [],
    { env: { PHOTO: photo } },
  )
  await rm(folder, { recursive: true })
  t.is(code, 0, stderr)
  const { p99, took, preprocess } = JSON.parse(stdout) as Record<string, number>
  t.log(
    `p99 of the delay ${p99?.toFixed(1)} ms while ${took?.toFixed(0)} ms of work ran, ${preprocess?.toFixed(0)} of them on the picture`,
  )
  t.true((preprocess ?? 0) > 60, 'the picture is large enough to be seen')
  t.true((p99 ?? 1e9) < 30, `p99 ${p99} ms`)
})
