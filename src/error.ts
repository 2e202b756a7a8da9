import type { Answer } from './answer.js'

/** What went wrong, as a name that never changes. */
export type ErrorCode =
  | 'invalid_option'
  | 'invalid_message'
  | 'picture_not_found'
  | 'invalid_data_url'
  | 'invalid_picture'
  | 'picture_too_large'
  | 'picture_too_thin'
  | 'invalid_clip'
  | 'too_many_pictures'
  | 'context_overflow'
  | 'model_not_found'
  | 'invalid_checkpoint'
  | 'unsupported_checkpoint'
  | 'device_unavailable'
  | 'device_lost'
  | 'out_of_memory'
  | 'non_finite'
  | 'queue_full'
  | 'aborted'
  | 'slow_reader'
  | 'closed'
  | 'internal'

/** What an error has besides its code and message. */
interface Details {
  hint?: string | undefined
  answer?: Answer | undefined
  cause?: unknown
}

/** Every error of karst: a stable code, what happened with its values, and often what to do next. */
export class KarstError extends Error {
  override readonly name: string = 'KarstError'
  readonly code: ErrorCode
  /** What to do next. */
  declare readonly hint?: string
  /** What was said until a request failed. */
  declare readonly answer?: Answer

  constructor(code: ErrorCode, message: string, details: Details = {}) {
    super(message, 'cause' in details ? { cause: details.cause } : undefined)
    this.code = code
    if (details.hint !== undefined) this.hint = details.hint
    if (details.answer !== undefined) this.answer = details.answer
  }
}

/** A stream that was aborted by its signal, whose reason is the `cause`. */
export class AbortError extends KarstError {
  override readonly name = 'AbortError'
  /** What was said until then. */
  declare readonly answer: Answer

  constructor(answer: Answer, reason: unknown) {
    super('aborted', 'the request was aborted', { answer, cause: reason })
  }
}

/** An error of the binding as one of ours. */
export function wrapped(error: unknown): KarstError {
  if (error instanceof KarstError) return error
  if (!(error instanceof Error)) return new KarstError('internal', `the binding threw ${String(error)}`)
  const { code, hint } = error as { code?: string; hint?: string }
  // The codes of the binding are ours; any other is a fault of the glue between Rust and JavaScript.
  const known = code !== undefined && /^[a-z_]+$/.test(code)
  if (known) return new KarstError(code as ErrorCode, error.message, { hint })
  return new KarstError('internal', error.message, {
    cause: error,
    hint: 'Please report it, with the call that led to it.',
  })
}

/** A call into the binding that throws our errors. */
export function entered<T>(call: () => T): T {
  try {
    return call()
  } catch (error) {
    throw wrapped(error)
  }
}

/** A promise of the binding that rejects with our errors. */
export async function settled<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    throw wrapped(error)
  }
}
