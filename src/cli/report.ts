import { KarstError } from '../error.js'
import { errorTable } from '../native.js'
import { dim } from './style.js'

/** The exit code of a command line that cannot be understood: that of an invalid option. */
export const USAGE = 2

/** A fault that is no {@link KarstError}. */
const FAULT = 1

/** What a shell expects of a program that was interrupted. */
export const INTERRUPTED = 130

/** Options are named as on the command line. */
function inFlags(message: string): string {
  const flag = (name: string) => `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
  return message.replace(/option '([a-zA-Z]+)'/g, (_, name: string) => `option '${flag(name)}'`)
}

/** Says what went wrong, and what to do. */
export function complain(error: unknown): void {
  if (exitCodeOf(error) === INTERRUPTED) return
  const expected = error instanceof KarstError
  const message = expected
    ? inFlags(error.message)
    : error instanceof Error
      ? (error.stack ?? error.message)
      : String(error)
  process.stderr.write(`karst: ${message}\n`)
  if (error instanceof KarstError && error.hint !== undefined) {
    process.stderr.write(`${dim(inFlags(error.hint), process.stderr)}\n`)
  }
}

/** By the table of codes. */
export function exitCodeOf(error: unknown): number {
  if (!(error instanceof KarstError)) return FAULT
  return errorTable().find((row) => row.code === error.code)?.exitCode ?? FAULT
}
