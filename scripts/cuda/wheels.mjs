// The compiler of the kernels: NVRTC and its headers, two files of the Python package index. They are plain zip archives, so that
// neither Python nor a CUDA toolkit is needed. CUDA 12, not 13: its images run with the drivers that most servers have.

import { createHash } from 'node:crypto'
import { createReadStream, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { SetupError } from '../setup.mjs'

const PUBLIC_INDEX = 'https://pypi.org/simple'

/** How often a broken download is taken up again. */
const TRIES = 5

const LIBRARY = 'nvidia/cuda_nvrtc/lib/libnvrtc.so.12'
const HEADERS = 'nvidia/cuda_runtime/include/'

/** `takes` are the files that are needed, and folders, which end with a slash; a wheel holds much more. */
export const WHEELS = [
  {
    name: 'nvidia-cuda-nvrtc-cu12',
    version: '12.9.86',
    file: 'nvidia_cuda_nvrtc_cu12-12.9.86-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl',
    bytes: 89568129,
    sha256: '210cf05005a447e29214e9ce50851e83fc5f4358df8b453155d5e1918094dcb4',
    takes: [
      LIBRARY,
      'nvidia/cuda_nvrtc/lib/libnvrtc-builtins.so.12.9',
      'nvidia_cuda_nvrtc_cu12-12.9.86.dist-info/licenses/',
    ],
  },
  {
    name: 'nvidia-cuda-runtime-cu12',
    version: '12.9.79',
    file: 'nvidia_cuda_runtime_cu12-12.9.79-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl',
    bytes: 3493179,
    sha256: '25bba2dfb01d48a9b59ca474a1ac43c6ebf7011f1b0b8cc44f54eb6ac48a96c3',
    takes: [HEADERS, 'nvidia_cuda_runtime_cu12-12.9.79.dist-info/licenses/'],
  },
]

/**
 * Brings the compiler into `folder`, where it is not there yet, and gives the paths of its library and its headers. A wheel that
 * lies in the folder is used instead of being fetched.
 */
export async function bringCompiler(folder) {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new SetupError(
      `The compiler is fetched for Linux on x64 only; this is ${process.platform} on ${process.arch}. Images are the same for ` +
        'every machine: build them there and copy crates/kernels/images, or give an nvcc with --compiler nvcc=PATH.',
    )
  }
  for (const wheel of WHEELS) if (!isUnpacked(wheel, folder)) await unpack(await bring(wheel, folder), wheel, folder)
  return { library: join(home(WHEELS[0], folder), LIBRARY), headers: join(home(WHEELS[1], folder), HEADERS) }
}

/** Whether `wheel` is to give a file of this name. */
export function takes(wheel, name) {
  if (name.endsWith('/') || name.split('/').includes('..')) return false
  return wheel.takes.some((taken) => (taken.endsWith('/') ? name.startsWith(taken) : name === taken))
}

/** Unpacks what is needed of the wheel in `path`, and removes it. */
export async function unpack(path, wheel, folder) {
  const { unzipSync } = await import('fflate')
  const partial = `${home(wheel, folder)}.part`
  rmSync(partial, { recursive: true, force: true })
  for (const [name, bytes] of Object.entries(
    unzipSync(readFileSync(path), { filter: ({ name }) => takes(wheel, name) }),
  )) {
    mkdirSync(dirname(join(partial, name)), { recursive: true })
    writeFileSync(join(partial, name), bytes)
  }
  rmSync(home(wheel, folder), { recursive: true, force: true })
  renameSync(partial, home(wheel, folder))
  if (!isUnpacked(wheel, folder)) throw new SetupError(`${wheel.file} lacks one of ${wheel.takes.join(', ')}.`)
  rmSync(path)
}

/**
 * The path of the whole, proven wheel in `folder`. What came before the connection broke is kept, by this run and by the next one.
 */
export async function bring(wheel, folder, index = process.env.PIP_INDEX_URL || PUBLIC_INDEX) {
  const path = join(folder, wheel.file)
  mkdirSync(folder, { recursive: true })
  if (existsSync(path)) {
    await prove(path, wheel)
    return path
  }
  const partial = `${path}.part`
  console.error(`  fetching ${wheel.file} (${Math.round(wheel.bytes / 1e6)} MB)`)
  for (let pause = 1000, tried = 1; ; pause *= 2, tried++) {
    try {
      await download(await locate(wheel, new URL(index)), wheel, partial)
      break
    } catch (error) {
      const words = [error.message, error.cause?.message].filter(Boolean).join(': ')
      if (error instanceof SetupError) throw error
      if (tried === TRIES)
        throw new SetupError(`${wheel.file} cannot be fetched: ${words}. The next run goes on from here.`)
      console.error(`  ${words}; trying again`)
      await setTimeout(pause)
    }
  }
  await prove(partial, wheel)
  renameSync(partial, path)
  return path
}

/** Where the wheel lies: the link of its name on the package's page, which every index has in this form. */
async function locate(wheel, index) {
  const page = new URL(`${index.href.replace(/\/*$/, '')}/${wheel.name}/`)
  const response = await request(page, index, { accept: 'application/vnd.pypi.simple.v1+html, text/html;q=0.9' })
  const links = [...(await response.text()).matchAll(/<a\s[^>]*?href\s*=\s*["']([^"'#]+)/gi)].map(([, link]) => link)
  const link = links.find((link) => link.split(/[/?]/).some((part) => decodeURIComponent(part) === wheel.file))
  if (!link) throw new SetupError(`The package index at ${index.host} has no ${wheel.file}.`)
  return { address: new URL(link.replaceAll('&amp;', '&'), response.url), index }
}

async function download({ address, index }, wheel, partial) {
  const have = existsSync(partial) ? (await stat(partial)).size : 0
  if (have === wheel.bytes) return
  const response = await request(address, index, { 'accept-encoding': 'identity', range: `bytes=${have}-` })
  const goesOn = response.headers.get('content-range')?.startsWith(`bytes ${have}-`) ?? false
  const file = await open(partial, goesOn ? 'a' : 'w')
  try {
    let length = goesOn ? have : 0
    for await (const chunk of response.body) {
      length += chunk.length
      if (length > wheel.bytes) throw new SetupError(`${wheel.file} is longer than ${wheel.bytes} bytes.`)
      await file.appendFile(chunk)
    }
    if (length < wheel.bytes) throw new Error(`the connection ended after ${length} of ${wheel.bytes} bytes`)
  } finally {
    await file.close()
  }
}

/** Asks for an address. The name and password of the index, if it has one, are for its own host. */
async function request(address, index, headers) {
  const own = address.host === index.host && index.username !== ''
  const secret = `${decodeURIComponent(index.username)}:${decodeURIComponent(index.password)}`
  const bare = new URL(address)
  bare.username = bare.password = ''
  const authorization = own && { authorization: `Basic ${Buffer.from(secret).toString('base64')}` }
  const response = await fetch(bare, { headers: { ...headers, ...authorization } })
  if (response.ok) return response
  const words = `${bare.host} answers ${response.status} ${response.statusText} for ${bare.pathname}`
  throw response.status >= 500 ? new Error(words) : new SetupError(`${words}.`)
}

/** A file whose bytes are others is removed: going on from it would never end well. */
async function prove(path, wheel) {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk)
  const sum = hash.digest('hex')
  if (sum === wheel.sha256) return
  rmSync(path)
  throw new SetupError(`${wheel.file} has the SHA-256 sum ${sum}, not ${wheel.sha256}; it was removed.`)
}

const home = (wheel, folder) => join(folder, `${wheel.name}-${wheel.version}`)
const isUnpacked = (wheel, folder) => wheel.takes.every((taken) => existsSync(join(home(wheel, folder), taken)))
