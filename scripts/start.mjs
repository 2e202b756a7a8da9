// `npm start`: sets everything up, then runs the command line where the user is. Without arguments it asks the demo model about
// a picture that comes with the project.

import { spawn } from 'node:child_process'
import { join, relative } from 'node:path'
import { root, SetupError, setUp } from './setup.mjs'

const PICTURE = join(root, 'models', 'samples', 'circle-square.png')
const QUESTION = 'What is in the picture?'

// npm runs scripts in the project's folder; the user's own paths mean the folder that npm was called in.
const here = process.env.INIT_CWD ?? process.cwd()

function demonstration() {
  console.error(`${relative(here, PICTURE)}: ${QUESTION}`)
  return ['chat', '--temperature', '0', PICTURE, QUESTION]
}

try {
  setUp()
  const given = process.argv.slice(2)
  const args = given.length > 0 ? given : demonstration()
  const cli = spawn(process.execPath, [join(root, 'dist', 'cli', 'main.js'), ...args], { cwd: here, stdio: 'inherit' })
  // The terminal sends Ctrl-C to both; what it means is the command line's to say.
  process.on('SIGINT', () => {})
  cli.on('exit', (code, signal) => {
    process.exitCode = code ?? (signal === 'SIGINT' ? 130 : 1)
  })
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  console.error(error.message)
  process.exitCode = 1
}
