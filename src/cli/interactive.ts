import { createInterface, type Interface } from 'node:readline'
import type { Message } from '../message.js'
import type { Model } from '../model.js'
import type { Options } from '../options.js'
import type { Part } from '../part.js'
import { picture, turn } from './arguments.js'
import { complain } from './report.js'
import { remark, say } from './say.js'
import { dim } from './style.js'

const HELP = `  /picture FILE   show the model another picture with the next question
  /clear          forget what was said, pictures too
  /exit           leave (or Ctrl-D)
`

/** A conversation, line by line: from a person, or from a file of questions. */
export async function talk(model: Model, pictures: Part[], options: Options, stats: boolean): Promise<void> {
  const isPerson = process.stdin.isTTY === true
  const lines = createInterface({ input: process.stdin, output: process.stderr, terminal: isPerson, prompt: '> ' })
  if (isPerson) process.stderr.write(dim('Ask away. /help shows what else there is.\n', process.stderr))
  await new Talk(model, pictures, options, stats, lines, isPerson).run()
}

class Talk {
  readonly #messages: Message[] = []
  readonly #lines: Interface
  /** Of the answer that is being said. */
  #controller: AbortController | undefined
  /** Ctrl-C was the last thing that happened. */
  #leaving = false

  constructor(
    private readonly model: Model,
    private pictures: Part[],
    private readonly options: Options,
    private readonly stats: boolean,
    lines: Interface,
    private readonly isPerson: boolean,
  ) {
    this.#lines = lines
  }

  async run(): Promise<void> {
    const interrupt = () => this.#interrupt()
    this.#lines.on('SIGINT', interrupt)
    process.on('SIGINT', interrupt)
    this.#prompt()
    for await (const line of this.#lines) {
      this.#leaving = false
      if (line.trim() === '/exit') break
      await this.#take(line.trim())
      this.#prompt()
    }
    process.off('SIGINT', interrupt)
    this.#lines.close()
  }

  async #take(line: string): Promise<void> {
    const [command, ...rest] = line.split(/\s+/)
    try {
      if (line === '') return
      if (command === '/help') process.stderr.write(HELP)
      else if (command === '/clear') this.#clear()
      else if (command === '/picture') this.pictures.push(picture(rest.join(' ')))
      else await this.#ask(line)
    } catch (error) {
      // A person may try again; a file of questions has nobody to notice.
      if (!this.isPerson) throw error
      complain(error)
    }
  }

  async #ask(question: string): Promise<void> {
    const asked = turn(this.pictures, question)
    const controller = new AbortController()
    this.#controller = controller
    try {
      const answer = await say(this.model, [...this.#messages, asked], { ...this.options, signal: controller.signal })
      remark(answer, this.stats)
      if (answer.finishReason === 'abort' && answer.text === '') return
      this.#messages.push(asked, { role: 'assistant', content: answer.text })
      this.pictures = []
    } finally {
      this.#controller = undefined
    }
  }

  #clear(): void {
    this.#messages.length = 0
    this.pictures = []
  }

  #interrupt(): void {
    if (this.#controller !== undefined && !this.#controller.signal.aborted) {
      this.#controller.abort()
    } else if (this.#leaving) {
      this.#lines.close()
    } else {
      this.#leaving = true
      process.stderr.write(dim('\n(Ctrl-C again leaves)\n', process.stderr))
      this.#prompt()
    }
  }

  #prompt(): void {
    if (this.isPerson) this.#lines.prompt()
  }
}
