// What builds the kernels: the pinned compiler, how it is fetched, what is compiled. No network but this machine's own.

import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { zipSync } from 'fflate'
import { ARCHITECTURES, includesOf, plan } from '../scripts/cuda/images.mjs'
import { kernelsIn, remarksIn } from '../scripts/cuda/report.mjs'
import { bring, takes, unpack, WHEELS } from '../scripts/cuda/wheels.mjs'
import { node, root } from './helpers.js'

function temporary(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'karst-cuda-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  return folder
}

/** A wheel of 3 MB with two files that are wanted and others that are not. */
const archive = Buffer.from(
  zipSync({
    'nvidia/lib/wanted.so': [new Uint8Array(3_000_000).map((_, i) => (i * i) >> 7), { level: 0 }],
    'nvidia/include/deep/header.h': Buffer.from('#pragma once\n'),
    'nvidia/include/../../outside.h': Buffer.from('outside'),
    'nvidia/lib/unwanted.so': Buffer.from('unwanted'),
  }),
)
const wheel = {
  name: 'a-wheel',
  version: '1.2',
  file: 'a_wheel-1.2-py3-none-any.whl',
  bytes: archive.length,
  sha256: createHash('sha256').update(archive).digest('hex'),
  takes: ['nvidia/lib/wanted.so', 'nvidia/include/'],
}

/** An index on this machine that wants a password, and breaks the first download of `cut` bytes. Gives its address and what was asked. */
async function serve(t: ExecutionContext, { cut = 0, bytes = archive } = {}) {
  const asked: string[] = []
  const server = createServer(({ url, headers }, response) => {
    if (headers.authorization !== `Basic ${Buffer.from('me:p@ss').toString('base64')}`) {
      response.writeHead(401).end()
    } else if (url === '/simple/a-wheel/') {
      response.end(`<a href="../../files/other.whl">other.whl</a> <a href="../../files/${wheel.file}#sha256=0">it</a>`)
    } else {
      asked.push(headers.range ?? '')
      const from = Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1])
      const range = `bytes ${from}-${bytes.length - 1}/${bytes.length}`
      response.writeHead(206, { 'content-range': range, 'content-length': bytes.length - from })
      if (cut > 0 && asked.length === 1) response.write(bytes.subarray(0, cut), () => response.destroy())
      else response.end(bytes.subarray(from))
    }
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  t.teardown(() => server.close())
  return { index: `http://me:p%40ss@127.0.0.1:${(server.address() as AddressInfo).port}/simple`, asked }
}

test('the_compiler_is_pinned', (t) => {
  for (const wheel of WHEELS) {
    t.regex(wheel.sha256, /^[0-9a-f]{64}$/)
    t.regex(wheel.version, /^12\.9\.\d+$/)
    t.true(wheel.file.startsWith(`${wheel.name.replaceAll('-', '_')}-${wheel.version}-`))
    t.true(wheel.bytes > 1e6)
  }
})

test('a_broken_download_goes_on_where_it_broke', async (t) => {
  const folder = temporary(t)
  const { index, asked } = await serve(t, { cut: 1_000_000 })
  const path = await bring(wheel, folder, index)
  t.true(readFileSync(path).equals(archive))
  t.is(asked.length, 2)
  t.is(asked[0], 'bytes=0-')
  const from = Number(/^bytes=(\d+)-$/.exec(asked[1] ?? '')?.[1])
  t.true(from > 0 && from <= 1_000_000, asked[1])
  // What lies there already is not fetched again.
  await bring(wheel, folder, index)
  t.is(asked.length, 2)
})

test('other_bytes_are_refused_and_removed', async (t) => {
  const folder = temporary(t)
  const other = Buffer.from(archive)
  other.writeUInt8(other.readUInt8(1000) ^ 1, 1000)
  const { index } = await serve(t, { bytes: other })
  await t.throwsAsync(bring(wheel, folder, index), { message: /has the SHA-256 sum [0-9a-f]{64}, not / })
  t.false(existsSync(join(folder, wheel.file)) || existsSync(join(folder, `${wheel.file}.part`)))
  const longer = await serve(t, { bytes: Buffer.concat([archive, archive]) })
  await t.throwsAsync(bring(wheel, folder, longer.index), { message: /is longer than \d+ bytes/ })
  await t.throwsAsync(bring({ ...wheel, file: 'b.whl' }, folder, longer.index), { message: /has no b\.whl/ })
})

test('a_wheel_gives_what_is_needed_and_nothing_else', async (t) => {
  const folder = temporary(t)
  const path = join(folder, wheel.file)
  writeFileSync(path, archive)
  await unpack(path, wheel, folder)
  const made = (name: string) => existsSync(join(folder, 'a-wheel-1.2', name))
  t.true(made('nvidia/lib/wanted.so') && made('nvidia/include/deep/header.h'))
  t.false(made('nvidia/lib/unwanted.so') || existsSync(join(folder, 'outside.h')) || existsSync(path))
  t.false(takes(wheel, 'nvidia/include/../../outside.h') || takes(wheel, 'nvidia/include/'))
})

test('every_kernel_is_compiled_for_every_architecture', (t) => {
  const compiler = { identity: 'a', options: (architecture: string) => [architecture], command: () => [] }
  const jobs = plan(compiler, ARCHITECTURES)
  const images = jobs.map((job) => job.image)
  t.true(images.includes('product.sm_90a.cubin') && images.includes('product.compute_80.ptx'))
  t.is(new Set(images).size, images.length)
  t.is(images.length % ARCHITECTURES.length, 0)
  // A change of the compiler, or of a header, is a change of the image.
  const keys = new Set(plan({ ...compiler, identity: 'b' }, ARCHITECTURES).map((job) => job.key))
  t.true(jobs.every((job) => !keys.has(job.key)))
  const headers = includesOf(join(root, 'crates', 'kernels', 'cuda', 'product.cu'))
  t.true(headers.some((path) => path.endsWith('common.cuh')))
})

test('what_the_compiler_says_is_read', (t) => {
  const ptx = 'ptxas application ptx input, line'
  const said = `ptxas info    : Compiling entry function 'product_a' for 'sm_90a'
ptxas info    : Function properties for product_a
ptxas         .     0 bytes stack frame, 16 bytes spill stores, 24 bytes spill loads
ptxas info    : Used 77 registers, used 1 barriers, 456 bytes cmem[0]
a.cu(3): error: expected a ";"
      ^
      ^
${ptx} 1; warning : slow
${ptx} 2; warning : slow
`
  t.deepEqual(kernelsIn(said), [{ name: 'product_a', registers: 77, stack: 0, spills: 40 }])
  t.is(remarksIn(said), `a.cu(3): error: expected a ";"\n      ^\n      ^\n${ptx} 1; warning : slow`)
})

test('wrong_arguments_are_refused_before_anything_is_fetched', async (t) => {
  for (const args of [['--arch', 'sm_70'], ['--compiler', 'gcc'], ['--fast'], ['--compiler', 'nvcc=/nowhere/nvcc']]) {
    const { code, stderr } = await node([join(root, 'scripts', 'build-cuda.mjs'), ...args])
    t.is(code, 1, stderr)
    t.regex(stderr, /sm_70|gcc|--fast|nowhere/)
  }
})
