// Everything that a fresh clone lacks: packages, the addon, the compiled TypeScript. Each step runs only when what it reads has
// changed since it last ran, so that a second start costs a look at some hundred files. Runs before any package is installed.

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url))

const LEAST_NODE = 20

/** What is wrong with the machine, as opposed to a fault of ours. */
export class SetupError extends Error {}

/** The steps, in order. `reads` are files and folders whose change makes the step run again, `makes` what must be there after it. */
const STEPS = [
  {
    title: 'Installing packages',
    reads: ['package-lock.json', '.npmrc'],
    makes: ['node_modules/.package-lock.json'],
    // Not `npm ci`: it refuses a lock file that lacks packages for other platforms than the one that it was made on.
    run: () => npm('install', '--no-save', '--loglevel=error'),
  },
  {
    title: 'Building the engine (a few minutes the first time)',
    reads: ['Cargo.toml', 'Cargo.lock', 'crates', 'package.json', 'node_modules/.package-lock.json'],
    makes: [addon, 'target/binding/index.d.ts'],
    run: () => {
      needRust()
      // The generated loader and types go beside the committed ones, which are compared with them by a test.
      mkdirSync(join(root, 'target', 'binding'), { recursive: true })
      npm('run', '--silent', 'build:addon')
    },
  },
  {
    title: 'Compiling the TypeScript',
    reads: ['src', 'index.d.ts', 'tsconfig.json', 'node_modules/.package-lock.json'],
    makes: ['dist/index.js', 'dist/cli/main.js'],
    run: () => npm('run', '--silent', 'build:dist'),
  },
]

/** Runs the steps that are due. Says nothing when none is. */
export function setUp(steps = STEPS) {
  const major = Number(process.versions.node.split('.')[0])
  if (major < LEAST_NODE) throw new SetupError(`Node ${LEAST_NODE} or later is needed; this is ${process.version}.`)
  for (const step of steps) {
    if (isDone(step)) continue
    const start = performance.now()
    console.error(`• ${step.title} ...`)
    step.run()
    writeStamp(step)
    console.error(`  done in ${duration(performance.now() - start)}`)
  }
}

/** The first of the steps alone: scripts may import packages only after it. */
export function installPackages() {
  setUp(STEPS.slice(0, 1))
}

/** Milliseconds for people. */
export function duration(milliseconds) {
  const seconds = milliseconds / 1000
  return seconds < 90 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`
}

/** Runs a program in the project's folder and shows what it says; throws when it fails. */
export function run(program, ...args) {
  const result = spawnSync(program, args, { cwd: root, stdio: ['ignore', 2, 2] })
  if (result.error) throw new SetupError(`${program} cannot be run: ${result.error.message}`)
  if (result.status !== 0) throw new SetupError(`${[program, ...args].join(' ')} failed; what it said stands above.`)
}

/**
 * Options with which cargo builds into the folder of the addon: the binding's builder always names the target, and what is built
 * without a name goes elsewhere, so that every dependency would be compiled twice.
 */
export function target() {
  const { stdout } = spawnSync('rustc', ['-vV'], { cwd: root, encoding: 'utf8' })
  const host = /^host: (\S+)$/m.exec(stdout ?? '')?.[1]
  return host ? ['--target', host] : []
}

function npm(...args) {
  // The npm that runs this script, or else the one on the path, which is a batch file on Windows.
  const self = process.env.npm_execpath
  if (self) return run(process.execPath, self, ...args)
  return process.platform === 'win32' ? run('cmd', '/c', 'npm', ...args) : run('npm', ...args)
}

/** Says what is missing, or too old, to build with. */
export function needRust() {
  const cargo = spawnSync('cargo', ['--version'], { cwd: root, encoding: 'utf8' })
  if (cargo.error || cargo.status !== 0) {
    throw new SetupError(
      'Rust is needed to build the engine, and there is no cargo. Install it with rustup (https://rustup.rs).',
    )
  }
  const least = /^rust-version = "(\d+)\.(\d+)"/m.exec(readFileSync(join(root, 'Cargo.toml'), 'utf8'))
  const found = /^cargo (\d+)\.(\d+)/.exec(cargo.stdout)
  const older = least && found && (Number(found[1]) - Number(least[1]) || Number(found[2]) - Number(least[2])) < 0
  if (older)
    throw new SetupError(
      `Rust ${least[1]}.${least[2]} or later is needed; this is ${found[0]}. "rustup update" brings it.`,
    )
}

/** The addon's file, whatever the C library in its name; where there is none, a name that does not exist. */
export function addon() {
  const start = `karst.${process.platform}-${process.arch}`
  return readdirSync(root).find((name) => name.startsWith(start) && name.endsWith('.node')) ?? `${start}.node`
}

function stampOf(step) {
  const name = step.title.toLowerCase().replace(/\W+/g, '-').slice(0, 24)
  return join(root, 'node_modules', '.cache', 'karst', `${name}.stamp`)
}

function isDone(step) {
  const stamp = stampOf(step)
  const made = step.makes.every((path) => existsSync(join(root, typeof path === 'string' ? path : path())))
  return made && existsSync(stamp) && readFileSync(stamp, 'utf8') === fingerprint(step)
}

function writeStamp(step) {
  const stamp = stampOf(step)
  mkdirSync(dirname(stamp), { recursive: true })
  writeFileSync(stamp, fingerprint(step))
}

/** Names, sizes and times of all files that a step reads. */
function fingerprint(step) {
  const hash = createHash('sha256')
  for (const path of step.reads)
    visit(join(root, path), (file, { size, mtimeMs }) => hash.update(`${file}\n${size} ${mtimeMs}\n`))
  return hash.digest('hex')
}

function visit(path, each) {
  if (!existsSync(path)) return
  const stat = statSync(path)
  if (!stat.isDirectory()) return each(path, stat)
  for (const name of readdirSync(path).sort()) visit(join(path, name), each)
}
