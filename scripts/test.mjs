// `npm test`: sets everything up, checks the style, and runs every test. It goes on after a failure, so that one run tells all, and
// closes with the number of tests that passed and failed. Arguments choose steps by name: `npm test -- ava`.

import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { duration, root, SetupError, setUp, target } from './setup.mjs'

const bin = (name) => join(root, 'node_modules', '.bin', process.platform === 'win32' ? `${name}.cmd` : name)

/** `counts` reads the tests that a step ran from what it said; a step without it counts as one test. */
const STEPS = [
  { name: 'biome', command: [bin('biome'), 'check'] },
  { name: 'types', command: [bin('tsc'), '--project', '__test__'] },
  { name: 'fmt', command: ['cargo', 'fmt', '--check'] },
  {
    name: 'clippy',
    command: ['cargo', 'clippy', '--release', ...target(), '--workspace', '--all-targets', '--', '-D', 'warnings'],
  },
  {
    name: 'cargo',
    command: ['cargo', 'test', '--release', ...target(), '--workspace', '--exclude', 'karst-node', '--no-fail-fast'],
    counts: (said) => [
      total(said, /^test result: .*? (\d+) passed/gm),
      total(said, /^test result: .*? (\d+) failed/gm),
    ],
  },
  {
    name: 'ava',
    command: [bin('ava')],
    counts: (said) => [
      total(said, /^\s*(\d+) tests? passed/gm),
      total(said, /^\s*(\d+) (?:tests? failed|tests? timed out|uncaught exceptions?|unhandled rejections?)/gm),
    ],
  },
]

function total(said, pattern) {
  return [...said.matchAll(pattern)].reduce((sum, [, count]) => sum + Number(count), 0)
}

/** Runs a command, shows what it says, and gives its exit code and words. */
function watch([program, ...args]) {
  return new Promise((done) => {
    const env = { ...process.env, ...(process.stdout.isTTY && { FORCE_COLOR: '1', CARGO_TERM_COLOR: 'always' }) }
    const child = spawn(program, args, {
      cwd: root,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      shell: program.endsWith('.cmd'),
    })
    let said = ''
    const pass = (output) => (chunk) => {
      said += chunk
      output.write(chunk)
    }
    child.stdout.on('data', pass(process.stdout))
    child.stderr.on('data', pass(process.stderr))
    child.on('error', (error) => done({ code: 1, said: `${program} cannot be run: ${error.message}` }))
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are what is taken away.
    child.on('close', (code) => done({ code: code ?? 1, said: said.replace(/\x1b\[[0-9;]*m/g, '') }))
  })
}

/** One step: how many tests of it passed and failed. A step that fails without a failed test counts as one. */
async function check({ name, command, counts }) {
  console.log(`\n── ${name}: ${command.slice(1).join(' ')}`)
  const start = performance.now()
  const { code, said } = await watch(command)
  const [passed, failed] = counts ? counts(said) : [code === 0 ? 1 : 0, 0]
  // A step with tests that ran none has not passed.
  const broken = code !== 0 || passed === 0
  console.log(`── ${name}: ${broken ? 'FAILED' : 'ok'} in ${duration(performance.now() - start)}`)
  return { name, passed, failed: broken ? Math.max(failed, 1) : failed }
}

async function main(names) {
  setUp()
  const unknown = names.find((name) => !STEPS.some((step) => step.name === name))
  if (unknown)
    throw new SetupError(`There is no step '${unknown}'; the steps are ${STEPS.map((step) => step.name).join(', ')}.`)
  const results = []
  for (const step of STEPS) if (names.length === 0 || names.includes(step.name)) results.push(await check(step))
  const sum = (key) => results.reduce((total, result) => total + result[key], 0)
  const failed = results.filter((result) => result.failed > 0).map((result) => result.name)
  console.log(failed.length > 0 ? `\nFailed: ${failed.join(', ')}` : '')
  console.log(`${sum('passed')} passed, ${sum('failed')} failed`)
  return failed.length > 0 ? 1 : 0
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  console.error(error.message)
  process.exitCode = 1
}
