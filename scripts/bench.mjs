// `npm run bench`: cargo's benchmarks, with what the addon's build has compiled. Arguments go to cargo: `npm run bench -- --bench decode`.

import { spawnSync } from 'node:child_process'
import { root, target } from './setup.mjs'

const cargo = ['bench', ...target(), ...process.argv.slice(2)]
const { error, status } = spawnSync('cargo', cargo, { cwd: root, stdio: 'inherit' })
if (error) console.error(`cargo cannot be run: ${error.message}. Install Rust with rustup (https://rustup.rs).`)
process.exitCode = status ?? 1
