import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ExecutionContext } from 'ava'
import { type ErrorCode, image, KarstError, type Message, type Model, type Options } from 'karst'

export const root = fileURLToPath(new URL('..', import.meta.url))

/** A picture or file that the demo model was given as a sample. */
export const sample = (name: string) => join(root, 'models', 'samples', name)

/** Always the likeliest token. */
export const GREEDY: Options = { temperature: 0 }

/** What was said becomes likelier, an end never said does not: greeted so, the demo model goes on for many seconds. */
export const ENDLESS: Options = { temperature: 0, repetitionPenalty: 0.5, maxTokens: 8000 }

/** One turn of the user's. */
export const ask = (...content: Exclude<Message['content'], string>): Message[] => [{ role: 'user', content }]

/** A question that the demo model answers. */
export const question = () => ask(image(sample('circle-square.png')), 'What is in the picture?')

export const ANSWER = 'A red circle is above a blue square.'

/** After whatever went wrong, the next good request is answered right. */
export async function stillRight(t: ExecutionContext, model: Model): Promise<void> {
  const answer = await model.chat(question(), GREEDY)
  t.is(answer.text, ANSWER)
  t.is(answer.finishReason, 'stop')
}

/** Runs `attempt`, which must be refused with `code` and words. */
export async function refused(
  t: ExecutionContext,
  attempt: () => unknown,
  code: ErrorCode,
  words: RegExp,
): Promise<KarstError> {
  const error = await t.throwsAsync(async () => attempt(), { instanceOf: KarstError, message: words })
  t.is(error.code, code)
  return error
}

/** How a program ended, and what it said. */
export interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

interface Run {
  cwd?: string
  env?: NodeJS.ProcessEnv
  input?: string
  /** Called with each piece of standard output. */
  heard?: (said: string, child: ReturnType<typeof spawn>) => void
}

/** Runs Node and waits for its end. */
export function node(args: string[], { cwd = root, env, input = '', heard }: Run = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd, env: { ...process.env, NODE_OPTIONS: '', ...env } })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (piece) => {
      stdout += piece
      heard?.(stdout, child)
    })
    child.stderr.on('data', (piece) => {
      stderr += piece
    })
    // A program that has ended before it read everything is judged by its exit code.
    child.stdin.on('error', () => {})
    child.stdin.end(input)
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
}

/** What every program below begins with. */
const PREAMBLE = `
import { frames, image, load } from ${JSON.stringify(join(root, 'dist', 'index.js'))}
const question = [{ role: 'user', content: [image(${JSON.stringify(sample('circle-square.png'))}), 'What is in the picture?'] }]
const hello = [{ role: 'user', content: 'Hello' }]
const GREEDY = ${JSON.stringify(GREEDY)}
const ENDLESS = ${JSON.stringify(ENDLESS)}
`

/** Runs a program of its own, in JavaScript, with the package imported. */
export function program(text: string, flags: string[] = [], run: Run = {}): Promise<Ended> {
  return node([...flags, '--input-type=module', '--eval', PREAMBLE + text], run)
}

/** Runs the command line. */
export function karst(args: string[], run: Run = {}): Promise<Ended> {
  return node([join(root, 'dist', 'cli', 'main.js'), ...args], run)
}
