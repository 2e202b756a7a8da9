// `npm run build:cuda`: brings the compiler, compiles the kernels for every architecture, and builds the addon with them in it.
//
//   --arch sm_90a,sm_80      compiles for these architectures only
//   --compiler nvcc=PATH     compiles with the nvcc of a toolkit, and fetches nothing

import { spawnSync } from 'node:child_process'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ARCHITECTURES, make, nvcc, nvrtc, plan } from './cuda/images.mjs'
import { table } from './cuda/report.mjs'
import { bringCompiler, WHEELS } from './cuda/wheels.mjs'
import { addon, installPackages, needRust, root, SetupError, setUp, target } from './setup.mjs'

const USAGE = 'usage: npm run build:cuda -- [--arch sm_90a,...] [--compiler nvcc[=PATH]]'

function options() {
  try {
    const { values } = parseArgs({ options: { arch: { type: 'string' }, compiler: { type: 'string' } } })
    return { architectures: values.arch?.split(',') ?? ARCHITECTURES, compiler: values.compiler ?? 'nvrtc' }
  } catch (error) {
    throw new SetupError(`${error.message}\n${USAGE}`)
  }
}

async function compilerOf(choice) {
  if (choice === 'nvrtc') {
    installPackages()
    console.error('• Looking for the compiler of the kernels ...')
    const files = await bringCompiler(join(root, '.cuda'))
    return nvrtc(callerOfNvrtc(), files, WHEELS.map((wheel) => wheel.sha256).join())
  }
  const [, path = 'nvcc'] = /^nvcc(?:=(.+))?$/.exec(choice) ?? []
  if (!choice.startsWith('nvcc')) throw new SetupError(`There is no compiler '${choice}'.\n${USAGE}`)
  const { error, status, stdout } = spawnSync(path, ['--version'], { encoding: 'utf8' })
  if (error || status !== 0)
    throw new SetupError(`${path} cannot be run: ${error?.message ?? `it ends with ${status}`}.`)
  return nvcc(path, stdout)
}

/** Builds the program that calls NVRTC, and gives its path. */
function callerOfNvrtc() {
  needRust()
  const args = ['build', '--release', ...target(), '-p', 'karst-kernels', '--bin', 'compile-kernels']
  const { status, stdout } = spawnSync('cargo', [...args, '--message-format=json-render-diagnostics'], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 1 << 28,
  })
  const made = /"executable":("[^"]*compile-kernels[^"]*")/.exec(stdout)?.[1]
  if (status !== 0 || !made) throw new SetupError('compile-kernels cannot be built; what cargo said stands above.')
  return JSON.parse(made)
}

async function main() {
  const { architectures, compiler: choice } = options()
  const unknown = architectures.find((architecture) => !ARCHITECTURES.includes(architecture))
  if (unknown !== undefined)
    throw new SetupError(`There is no architecture '${unknown}'; there are ${ARCHITECTURES.join(', ')}.`)
  const compiler = await compilerOf(choice)
  const jobs = plan(compiler, architectures)
  const ledger = await make(compiler, jobs, plan(compiler, ARCHITECTURES))
  console.log(table(jobs, ledger))
  setUp()
  const megabytes = (statSync(join(root, addon())).size / 1e6).toFixed(1)
  console.log(`${Object.keys(ledger).length} images are in ${addon()} (${megabytes} MB).`)
}

try {
  await main()
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  console.error(error.message)
  process.exitCode = 1
}
