import type { Answer } from './answer.js'
import { AbortError, entered, settled } from './error.js'
import type { Info, Inspection } from './info.js'
import { type Message, nativeMessages } from './message.js'
import type { NativeModel } from './native.js'
import { nativeOptions, type Options, signalOf } from './options.js'
import { Stream } from './stream.js'

const MINE = ['signal']

/** An open model. It answers several requests at once, and frees its memory when it is closed. */
export class Model implements AsyncDisposable {
  /** Device and why it was chosen, model, memory, limits. */
  readonly info: Info
  readonly #native: NativeModel

  /** @internal */
  constructor(native: NativeModel) {
    this.#native = native
    this.info = entered(() => native.info())
  }

  /** The whole answer. Aborting rejects with the signal's reason. */
  async chat(messages: readonly Message[], options?: Options): Promise<Answer> {
    try {
      return await this.stream(messages, options).answer
    } catch (error) {
      throw error instanceof AbortError ? error.cause : error
    }
  }

  /** The answer as it is said. What is wrong with the arguments is thrown at once, anything else in the loop. */
  stream(messages: readonly Message[], options?: Options): Stream {
    const given = nativeOptions('request', options, MINE)
    const conversation = nativeMessages(messages)
    return new Stream(() => entered(() => this.#native.stream(conversation, given)), signalOf(options))
  }

  /** What a conversation becomes: grids, views, tokens, memory. Nothing runs on the model. */
  async inspect(messages: readonly Message[], options?: Omit<Options, 'signal'>): Promise<Inspection> {
    const given = nativeOptions('request', options)
    const conversation = nativeMessages(messages)
    return settled(() => this.#native.inspect(conversation, given))
  }

  /** Ends every request and frees the model. Closing twice is the same as closing once. */
  async close(): Promise<void> {
    await settled(() => this.#native.close())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
