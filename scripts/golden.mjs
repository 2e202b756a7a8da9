// `npm run test:golden`: only the comparison with the reference. KARST_GOLDEN names another folder of golden data.

import { spawnSync } from 'node:child_process'
import { resolve } from 'node:path'
import { root, target } from './setup.mjs'

const { INIT_CWD = process.cwd(), KARST_GOLDEN, ...env } = process.env
// A relative folder means the one in which the user is.
if (KARST_GOLDEN) env.KARST_GOLDEN = resolve(INIT_CWD, KARST_GOLDEN)

const cargo = [
  'test',
  '--release',
  ...target(),
  '-p',
  'karst-tests',
  '--test',
  'golden',
  '--',
  ...process.argv.slice(2),
]
const { error, status } = spawnSync('cargo', cargo, { cwd: root, env, stdio: 'inherit' })
if (error) console.error(`cargo cannot be run: ${error.message}. Install Rust with rustup (https://rustup.rs).`)
process.exitCode = status ?? 1
