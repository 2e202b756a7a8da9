import { type Answer, type Event, unsaid } from './answer.js'
import { AbortError, type ErrorCode, KarstError, settled } from './error.js'
import type { NativeEvent, NativeStream } from './native.js'

/**
 * A running request: events in a `for await` loop, or the whole answer. Leaving the loop ends the request.
 *
 * Events are taken from the model as they are asked for. Whoever asks for the {@link Stream.answer} without a loop asks for all.
 */
export class Stream implements AsyncIterableIterator<Event>, AsyncDisposable {
  readonly #native: NativeStream | undefined
  readonly #signal: AbortSignal | undefined
  readonly #abort = () => this.#native?.cancel()
  readonly #answer: Promise<Answer>
  readonly #waiting: Event[] = []
  #settle!: { resolve: (answer: Answer) => void; reject: (error: KarstError) => void }
  /** How the request ended, once it has. */
  #end: { error?: KarstError } | undefined
  /** The reader has left, or has been told the end. */
  #left = false
  /** Events are fetched one batch after the other, whoever asks. */
  #fetching: Promise<void> | undefined

  /** @internal `start` is not called if the signal has been aborted before. */
  constructor(start: () => NativeStream, signal?: AbortSignal) {
    this.#answer = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
    })
    // Whoever does not ask for the answer has not asked for its error either.
    this.#answer.catch(() => {})
    this.#signal = signal
    if (signal?.aborted) {
      this.#finish(new AbortError(unsaid(), signal.reason))
    } else {
      this.#native = start()
      signal?.addEventListener('abort', this.#abort, { once: true })
    }
  }

  /** The whole answer. After the loop was left it tells what was said until then. */
  get answer(): Promise<Answer> {
    void this.#drain()
    return this.#answer
  }

  async next(): Promise<IteratorResult<Event, undefined>> {
    while (!this.#left) {
      const event = this.#waiting.shift()
      if (event !== undefined) return { done: false, value: event }
      if (this.#end !== undefined) {
        this.#left = true
        if (this.#end.error !== undefined) throw this.#end.error
      } else {
        await this.#fetch()
      }
    }
    return { done: true, value: undefined }
  }

  /** Ends the request; when the promise settles, nothing of it runs any more. */
  async return(): Promise<IteratorResult<Event, undefined>> {
    this.#left = true
    this.#waiting.length = 0
    if (this.#end === undefined) this.#native?.cancel()
    await this.#drain()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  async #drain(): Promise<void> {
    while (this.#end === undefined) await this.#fetch()
  }

  #fetch(): Promise<void> {
    this.#fetching ??= this.#take().finally(() => {
      this.#fetching = undefined
    })
    return this.#fetching
  }

  async #take(): Promise<void> {
    try {
      const events = await settled(async () => this.#native?.next())
      if (events === undefined || events === null)
        throw new KarstError('internal', 'the request ended without an answer')
      for (const event of events) this.#receive(event)
    } catch (error) {
      this.#finish(error as KarstError)
    }
  }

  #receive({ kind, text = '', answer = unsaid(), failure }: NativeEvent): void {
    const aborted = this.#signal?.aborted === true
    if (kind === 'failed') {
      const { code, message, hint } = failure ?? { code: 'internal', message: 'the request failed' }
      this.#finish(
        new KarstError(code as ErrorCode, message, { hint, ...(answer.text || answer.reasoning ? { answer } : {}) }),
      )
    } else if (kind === 'finish' && aborted) {
      this.#finish(new AbortError({ ...answer, finishReason: 'abort' }, this.#signal?.reason))
    } else if (kind === 'finish') {
      this.#say({ type: kind, answer })
      this.#finish(undefined, answer)
    } else if (!aborted) {
      this.#say({ type: kind, text })
    }
  }

  #say(event: Event): void {
    if (!this.#left) this.#waiting.push(event)
  }

  #finish(error: KarstError | undefined, answer = unsaid()): void {
    this.#signal?.removeEventListener('abort', this.#abort)
    // An aborted reader is told so at once, not after what had been fetched before.
    if (error instanceof AbortError) this.#waiting.length = 0
    this.#end = error === undefined ? {} : { error }
    if (error === undefined) this.#settle.resolve(answer)
    else this.#settle.reject(error)
  }
}
