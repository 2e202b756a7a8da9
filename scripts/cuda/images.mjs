// The images of the kernels: what is compiled for which architecture, and whether that is done. An image counts as done as long as
// its source, the headers of that, the compiler and its options are what it was made of; times of files say nothing about those.

import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { basename, dirname, join, relative } from 'node:path'
import { root, SetupError } from '../setup.mjs'
import { kernelsIn, remarksIn } from './report.mjs'

const SOURCES = join(root, 'crates', 'kernels', 'cuda')
const IMAGES = join(root, 'crates', 'kernels', 'images')

/** Where images are written before they are whole; what lies among the others is built into the addon. */
const PARTIAL = join(root, '.cuda', 'partial')

/** What was made of what, and what the compiler said of it; not among the images either, which are looked at for changes. */
const LEDGER = join(root, '.cuda', 'ledger.json')

/** Ampere to Blackwell, and text that the drivers of later devices compile. `a`: with what only this version has. */
export const ARCHITECTURES = ['sm_80', 'sm_86', 'sm_89', 'sm_90a', 'sm_100', 'sm_120', 'compute_80']

/** The compiler that was fetched, called by the program `compile-kernels`. */
export function nvrtc(program, { library, headers }, identity) {
  return {
    identity,
    options: (architecture) => [
      `--gpu-architecture=${architecture}`,
      '--std=c++17',
      // As nvcc does, which lets device code use constexpr functions of neither side.
      '--device-as-default-execution-space',
      '--ptxas-options=-v',
      `--include-path=${relative(root, SOURCES)}`,
      `--include-path=${relative(root, headers)}`,
    ],
    command: (source, image, options) => [program, library, source, image, ...options],
  }
}

/** A compiler of a toolkit. */
export function nvcc(program, identity) {
  return {
    identity,
    options: (architecture) => {
      const kind = isText(architecture) ? '-ptx' : '-cubin'
      return [`-arch=${architecture}`, kind, '-O3', '-std=c++17', '-Xptxas=-v']
    },
    command: (source, image, options) => [program, ...options, '-o', image, source],
  }
}

/** One job for each source and architecture. */
export function plan(compiler, architectures) {
  const names = readdirSync(SOURCES).filter((name) => name.endsWith('.cu'))
  if (names.length === 0) throw new SetupError(`${relative(root, SOURCES)} has no kernels.`)
  // The longest first, so that no core is left with it at the end.
  const size = (name) => statSync(join(SOURCES, name)).size
  const jobs = names
    .sort((a, b) => size(b) - size(a))
    .flatMap((name) =>
      architectures.map((architecture) => {
        const options = compiler.options(architecture)
        const source = join(SOURCES, name)
        const image = `${basename(name, '.cu')}.${architecture}.${isText(architecture) ? 'ptx' : 'cubin'}`
        const made = [
          compiler.identity,
          ...options,
          ...[source, ...includesOf(source)].map((path) => readFileSync(path)),
        ]
        return { source, architecture, options, image, key: digest(...made) }
      }),
    )
  return jobs
}

/**
 * Makes the images of all jobs, as many at once as there are cores, and gives the ledger's entries by image. Images that are not
 * among the jobs stay if their sources are unchanged, as the ledger of an earlier run tells.
 */
export async function make(compiler, jobs, everything) {
  for (const folder of [IMAGES, PARTIAL]) mkdirSync(folder, { recursive: true })
  const ledger = readLedger()
  removeOutdated(ledger, everything)
  const due = jobs.filter((job) => ledger[job.image]?.key !== job.key)
  console.error(`• Compiling ${due.length} images of kernels; ${jobs.length - due.length} are up to date`)
  let failure
  const work = async () => {
    for (let job = due.shift(); job && !failure; job = due.shift()) {
      try {
        ledger[job.image] = await compile(compiler, job)
        writeLedger(ledger)
      } catch (error) {
        failure ??= error
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), due.length) }, work))
  if (failure) throw failure
  return ledger
}

async function compile(compiler, job) {
  const start = performance.now()
  const source = relative(root, job.source)
  const partial = join(PARTIAL, job.image)
  rmSync(partial, { force: true })
  const { code, said } = await hear(compiler.command(source, partial, job.options))
  const remarks = remarksIn(said)
  if (remarks) console.error(`${source} for ${job.architecture}:\n${remarks}`)
  if (code !== 0 || !existsSync(partial)) {
    throw new SetupError(`${source} cannot be compiled for ${job.architecture}; what the compiler said stands above.`)
  }
  renameSync(partial, join(IMAGES, job.image))
  const seconds = (performance.now() - start) / 1000
  console.error(`  ${job.image} in ${seconds.toFixed(1)} s`)
  return { key: job.key, sha256: digest(readFileSync(join(IMAGES, job.image))), seconds, kernels: kernelsIn(said) }
}

/** Runs a program in the project's folder, and gives its exit code and all that it said. */
function hear([program, ...args]) {
  return new Promise((done, fail) => {
    const child = spawn(program, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
    let said = ''
    for (const output of [child.stdout, child.stderr]) {
      output.setEncoding('utf8').on('data', (piece) => {
        said += piece
      })
    }
    child.on('error', (error) => fail(new SetupError(`${program} cannot be run: ${error.message}`)))
    child.on('close', (code) => done({ code, said }))
  })
}

/** The headers that a source includes by quotes, and those that they include. */
export function includesOf(source, found = new Set()) {
  for (const [, name] of readFileSync(source, 'utf8').matchAll(/^\s*#\s*include\s*"([^"]+)"/gm)) {
    const path = join(dirname(source), name)
    if (found.has(path) || !existsSync(path)) continue
    found.add(path)
    includesOf(path, found)
  }
  return [...found].sort()
}

/** An image of other sources would be given parameters that it does not know. One that was put here by hand cannot be judged. */
function removeOutdated(ledger, jobs) {
  const keys = new Map(jobs.map((job) => [job.image, job.key]))
  for (const image of Object.keys(ledger)) if (!existsSync(join(IMAGES, image))) delete ledger[image]
  for (const name of readdirSync(IMAGES)) {
    const path = join(IMAGES, name)
    const entry = ledger[name]
    if (path === LEDGER || (entry && entry.key === keys.get(name) && entry.sha256 === digest(readFileSync(path))))
      continue
    rmSync(path, { recursive: true })
    delete ledger[name]
  }
  writeLedger(ledger)
}

function readLedger() {
  try {
    return JSON.parse(readFileSync(LEDGER, 'utf8'))
  } catch {
    // None yet, or cut short: everything is made anew.
    return {}
  }
}

const writeLedger = (ledger) => writeFileSync(LEDGER, `${JSON.stringify(ledger, null, 1)}\n`)
const isText = (architecture) => architecture.startsWith('compute_')

function digest(...parts) {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part).update('\0')
  return hash.digest('hex')
}
