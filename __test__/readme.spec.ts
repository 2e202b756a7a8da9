// The README's programs are typed and do what they say.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { node, root } from './helpers.js'

const folder = join(root, 'target', 'readme')
const readme = readFileSync(join(root, 'README.md'), 'utf8')
const programs = [...readme.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, text]) => text ?? '')

/** What a program says that it prints: the comments behind its `console.log` lines, cut where they are cut. */
function promised(text: string): string[] {
  const comments = [...text.matchAll(/console\.log\(.*\) \/\/ (.+)$/gm)].map(([, words]) => words ?? '')
  return comments
    .flatMap((words) => words.split('...'))
    .map((words) => words.trim())
    .filter((words) => words !== '')
}

test.before(() => {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const [index, text] of programs.entries()) writeFileSync(join(folder, `${index}.ts`), text)
  const options = { noEmit: true, rootDir: root, outDir: join(root, 'target', 'types'), noUnusedLocals: false }
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({ extends: '../../tsconfig.json', compilerOptions: options, include: ['.'] }),
  )
})

test('the_readme_has_programs', (t) => {
  t.true(programs.length >= 2)
  t.true(programs.flatMap(promised).length >= 2)
})

test('the_programs_of_the_readme_are_typed', async (t) => {
  const { code, stdout } = await node([join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '--project', folder])
  t.is(code, 0, stdout)
})

for (const [index, text] of programs.entries()) {
  test(`program_${index + 1}_of_the_readme_does_what_it_says`, async (t) => {
    const { code, stdout, stderr } = await node(['--import', '@oxc-node/core/register', join(folder, `${index}.ts`)])
    t.is(code, 0, stderr)
    for (const words of promised(text)) t.true(stdout.includes(words), `'${words}' is not in:\n${stdout}`)
  })
}
