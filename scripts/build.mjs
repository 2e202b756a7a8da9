// `npm run build`: what `npm start` would set up, and nothing else.

import { SetupError, setUp } from './setup.mjs'

try {
  setUp()
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  console.error(error.message)
  process.exitCode = 1
}
