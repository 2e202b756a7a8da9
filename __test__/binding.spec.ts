// Rows N3, N8 and N10: the border between Rust and JavaScript.

import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import * as karst from 'karst'
import { errorTable, fault, optionTable } from '../index.js'
import { node, program, root, stillRight } from './helpers.js'

test('n3_a_panic_becomes_an_error_with_a_code', async (t) => {
  const at = t.throws(() => fault('at once')) as Error & { code: string; hint: string }
  t.is(at.code, 'internal')
  t.regex(at.message, /a fault inside karst: a fault on purpose/)
  t.regex(at.hint, /report/)
  const elsewhere = (await t.throwsAsync(() => fault('elsewhere'))) as Error & { code: string }
  t.is(elsewhere.code, 'internal')
  t.regex(elsewhere.message, /a fault on purpose/)
  await using model = await karst.load('demo')
  await stillRight(t, model)
})

test('n8_a_binary_that_cannot_be_loaded_is_named_with_the_reason', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'karst-'))
  const name = readFileSync(join(root, 'index.js'), 'utf8').match(/karst\.linux-x64-gnu\.node/)?.[0] ?? ''
  copyFileSync(join(root, 'index.js'), join(folder, 'index.mjs'))
  for (const file of [
    'karst.linux-x64-gnu.node',
    'karst.linux-arm64-gnu.node',
    'karst.darwin-arm64.node',
    'karst.darwin-x64.node',
    'karst.win32-x64-msvc.node',
  ]) {
    writeFileSync(join(folder, file), 'of another machine')
  }
  const { code, stderr } = await node([join(folder, 'index.mjs')], { cwd: folder })
  t.is(code, 1)
  t.regex(stderr, /Cannot find native binding/)
  t.true(stderr.includes(process.platform), 'the platform')
  t.regex(stderr, /file too short|invalid ELF header|not a mach-o|not a valid Win32/i, 'the reason')
  t.is(name, 'karst.linux-x64-gnu.node')
  rmSync(folder, { recursive: true })
})

test('n10_the_generated_files_are_those_of_the_sources', (t) => {
  for (const name of ['index.d.ts', 'index.js']) {
    const generated = readFileSync(join(root, 'target', 'binding', name), 'utf8')
    // They were generated two folders further down.
    const moved = generated.replaceAll("'../../karst.", "'./karst.")
    t.true(readFileSync(join(root, name), 'utf8') === moved, `${name} is out of date: npm run build:native`)
  }
})

test('n10_the_types_know_every_option_and_every_code', (t) => {
  const options = readFileSync(join(root, 'src', 'options.ts'), 'utf8')
  const known = [...options.matchAll(/^ {2}(\w+)\?: /gm)].map(([, name]) => name)
  t.deepEqual(known, [...optionTable().map(({ name }) => name), 'signal'])
  const errors = readFileSync(join(root, 'src', 'error.ts'), 'utf8')
  const codes = [...errors.matchAll(/^ {2}\| '(\w+)'$/gm)].map(([, name]) => name)
  t.deepEqual(
    codes,
    errorTable().map(({ code }) => code),
  )
})

test('the_package_exports_what_works_and_nothing_else', (t) => {
  t.deepEqual(Object.keys(karst).sort(), ['AbortError', 'KarstError', 'frames', 'image', 'load'])
})

test('importing_it_twice_gives_one_binding', async (t) => {
  const { code, stdout } = await program(`
    const again = await import(${JSON.stringify(join(root, 'dist', 'index.js'))} + '?again')
    const model = await again.load('demo')
    try {
      await model.chat(question, GREEDY)
    } catch (error) {
      console.log(error.code)
    }
    await model.close()
  `)
  t.is(code, 0)
  t.is(stdout, '')
})
