// The command line as a shell sees it: what it prints where, and how it ends.

import { spawn } from 'node:child_process'
import { join, relative } from 'node:path'
import test from 'ava'
import { errorTable, optionTable } from '../index.js'
import { ANSWER, karst, node, root, sample } from './helpers.js'

const PICTURE = sample('circle-square.png')
const QUESTION = 'What is in the picture?'
const GREEDY = ['--temperature', '0']
const ENDLESS = [...GREEDY, '--repetition-penalty', '0.5', '--max-tokens', '8000']

test('help_is_there_for_each_command', async (t) => {
  const all = await karst(['--help'])
  t.is(all.code, 0)
  for (const words of ['karst chat photo.jpg', 'inspect', '--version', 'Examples:'])
    t.true(all.stdout.includes(words), words)
  t.is((await karst([])).stdout, all.stdout)
  for (const command of ['chat', 'inspect']) {
    const { code, stdout } = await karst([command, '--help'])
    t.is(code, 0)
    for (const { name, doc } of optionTable()) {
      if (name === 'logprobs') continue
      t.true(stdout.includes(`--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`), name)
      t.true(stdout.replace(/\s+/g, ' ').includes(doc.slice(1).replace(/\.$/, '')), doc)
    }
    const longest = Math.max(...stdout.split('\n').map((line) => line.length))
    t.true(longest <= 130, `a line of ${longest} characters`)
  }
})

test('version_is_that_of_the_package', async (t) => {
  const { code, stdout } = await karst(['--version'])
  t.is(code, 0)
  t.regex(stdout, /^\d+\.\d+\.\d+\n$/)
})

test('a_question_is_answered_on_standard_output', async (t) => {
  const { code, stdout, stderr } = await karst(['chat', ...GREEDY, PICTURE, QUESTION])
  t.is(stderr, '')
  t.is(stdout, `${ANSWER}\n`)
  t.is(code, 0)
})

test('several_pictures_come_before_the_question', async (t) => {
  const { stdout } = await karst([
    'chat',
    ...GREEDY,
    PICTURE,
    sample('four-shapes.png'),
    'Which image has more shapes?',
  ])
  t.is(stdout, 'The second image.\n')
})

test('thoughts_and_remarks_go_to_standard_error', async (t) => {
  const args = ['chat', ...GREEDY, '--think', '--stats', sample('two-squares.png'), 'How many squares are there?']
  const { code, stdout, stderr } = await karst(args)
  t.is(code, 0)
  t.is(stdout, '2\n')
  t.regex(stderr, /^From left to right I see a purple square/)
  t.regex(stderr, /\(prompt 86 tokens, 64 of pictures; answer 31, \d+ of thoughts; /)
  const cut = await karst(['chat', ...GREEDY, '--max-tokens', '2', PICTURE, QUESTION])
  t.is(cut.stdout, 'A red\n')
  t.is(cut.stderr, '(cut after 2 tokens; --max-tokens sets the limit)\n')
})

test('a_stop_may_be_given_again_and_takes_no_picture_with_it', async (t) => {
  const { stdout } = await karst(['chat', ...GREEDY, '--stop', 'nothing', '--stop', ' blue', PICTURE, QUESTION])
  t.is(stdout, 'A red circle is above a\n')
})

test('questions_line_by_line_remember_what_was_said', async (t) => {
  const input = 'Which shape is yellow?\n\nIs there a blue star?\n'
  const { code, stdout, stderr } = await karst(['chat', ...GREEDY, sample('four-shapes.png')], { input })
  t.is(stderr, '')
  t.is(stdout, 'A cross.\nNo.\n')
  t.is(code, 0)
  const commands = `/picture ${PICTURE}\n${QUESTION}\n/clear\n/help\nHello\n/exit\nHello\n`
  const more = await karst(['chat', ...GREEDY], { input: commands })
  t.regex(more.stdout, new RegExp(`^${ANSWER}\nHello\\. Show me [^\n]*\n$`))
  t.regex(more.stderr, /\/picture FILE/)
  const missing = await karst(['chat'], { input: '/picture none.png\n' })
  t.is(missing.code, 2)
  t.regex(missing.stderr, /^karst: there is no picture 'none\.png'/)
})

test('paths_mean_the_folder_in_which_the_user_is', async (t) => {
  const cwd = sample('up')
  const { stdout } = await karst(['chat', ...GREEDY, '../circle-square.png', QUESTION], { cwd })
  t.is(stdout, `${ANSWER}\n`)
  const start = [join(root, 'scripts', 'start.mjs'), 'chat', ...GREEDY, '../circle-square.png', QUESTION]
  const started = await node(start, { cwd: root, env: { INIT_CWD: cwd } })
  t.is(started.stdout, `${ANSWER}\n`, started.stderr)
})

test('npm_start_asks_about_a_picture_that_comes_with_it', async (t) => {
  const { code, stdout, stderr } = await node([join(root, 'scripts', 'start.mjs')], { env: { INIT_CWD: root } })
  t.is(code, 0, stderr)
  t.is(stdout, `${ANSWER}\n`)
  t.true(stderr.endsWith(`${relative(root, PICTURE)}: ${QUESTION}\n`), stderr)
})

test('inspect_tells_the_device_and_why_the_model_memory_and_limits', async (t) => {
  const { code, stdout, stderr } = await karst(['inspect'])
  t.is(stderr, '')
  t.is(code, 0)
  t.regex(stdout, /^Device {2}cpu \(.+\): .+\nModel {3}demo, .+ GPTQ int4, .+/)
  t.regex(stdout, /\nMemory {2}.+ of weights, .+ for keys and values\nLimits {2}8192 tokens/)
})

test('inspect_tells_what_a_picture_and_a_question_become', async (t) => {
  const picture = sample('sliced-shapes.png')
  const { stdout } = await karst(['inspect', picture, QUESTION])
  t.true(
    stdout.includes(`${picture}: 1280 x 720 pixels -> an overview of 602 x 336 and 3 x 2 slices of 490 x 406`),
    stdout,
  )
  t.regex(stdout, /Prompt {2}485 tokens, 448 of pictures; room for an answer of 2048; /)
  const one = await karst(['inspect', '--max-slices', '1', picture, QUESTION])
  t.regex(one.stdout, /an overview of 602 x 336, \d+ patches, 64 tokens/)
  const json = JSON.parse((await karst(['inspect', '--json', picture, QUESTION])).stdout)
  t.is(json.device.name, 'cpu')
  t.is(json.conversation.promptTokens, 485)
  t.deepEqual(json.conversation.parts[0].groups[0].grid, { columns: 3, rows: 2 })
})

test('what_is_wrong_is_said_and_told_by_the_exit_code', async (t) => {
  const cases: [string[], number, RegExp][] = [
    [['chat', '--temprature', '0', 'x'], 2, /unknown option '--temprature'[\s\S]*Did you mean --temperature\?/],
    [['chta', 'x'], 2, /unknown command 'chta'[\s\S]*Did you mean chat\?/],
    [['chat', '--temperature', '3', 'x'], 2, /^karst: option '--temperature' takes a number from 0 to 2, not 3\n$/],
    [
      ['chat', '--max-tokens', '1.5', 'x'],
      2,
      /^karst: option '--max-tokens' takes a whole number from 1 to 40960, not 1\.5\n$/,
    ],
    [['chat', '--max-tokens', 'many', 'x'], 2, /It takes a number/],
    [['chat', '--image-ids', 'maybe', 'x'], 2, /It takes true or false/],
    [['chat', 'none.png', 'x'], 2, /^karst: there is no picture 'none\.png'\nPictures come first/],
    [['chat', 'none.jpeg'], 2, /^karst: there is no picture 'none\.jpeg'/],
    [['chat', 'http://localhost/x.png', 'x'], 2, /^karst: pictures are not fetched/],
    [['chat', join(root, 'LICENSE'), 'x'], 2, /^karst: /],
    [['chat', '--model', '/no/such', 'x'], 3, /^karst: .*\/no\/such/],
    [['chat', '--model', 'openbmb/MiniCPM-V-4_5', 'x'], 3, /hub/],
    [['chat', '--device', 'cuda:0', 'x'], 4, /^karst: device cuda:0 cannot be used/],
    [
      ['inspect', '--device', 'gpu'],
      2,
      /^karst: option '--device' takes 'auto', 'cpu' or 'cuda:' and a number, not 'gpu'\n$/,
    ],
  ]
  for (const [args, wanted, words] of cases) {
    const { code, stdout, stderr } = await karst(args)
    t.is(code, wanted, `${args.join(' ')}: ${stderr}`)
    t.regex(stderr, words)
    t.is(stdout, '')
  }
  t.true(errorTable().every(({ exitCode }) => exitCode !== 0))
})

test('a_reader_that_leaves_is_no_error', async (t) => {
  const ended = await new Promise<{ code: number | null; stderr: string }>((resolve) => {
    const child = spawn(process.execPath, [join(root, 'dist', 'cli', 'main.js'), 'chat', ...ENDLESS, 'Hello'])
    let stderr = ''
    child.stderr.on('data', (piece) => {
      stderr += piece
    })
    child.stdout.once('data', () => child.stdout.destroy())
    child.on('close', (code) => resolve({ code, stderr }))
  })
  t.deepEqual(ended, { code: 0, stderr: '' })
})

test('ctrl_c_stops_the_answer', async (t) => {
  const stop = { sent: false }
  const { code, signal, stdout, stderr } = await karst(['chat', ...ENDLESS, 'Hello'], {
    heard: (said, child) => {
      if (!stop.sent && said.length > 20) stop.sent = child.kill('SIGINT')
    },
  })
  t.is(signal, null)
  t.is(code, 130, stderr)
  t.regex(stdout, /^Hello\. Show[^\n]*\n$/)
})
