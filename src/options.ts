import { entered, KarstError } from './error.js'
import { checkName, limits, type NativeOption } from './native.js'
import { isRecord, kindOf } from './values.js'

/** How to answer. Ranges and defaults stand in one table, in Rust: a wrong value is refused with what is allowed. */
export interface Options {
  /** Think before answering; the thoughts come apart from the answer. Default: false. */
  thinking?: boolean
  /** Most tokens to generate, thoughts included. Default: 2048. */
  maxTokens?: number
  /** Higher is more varied; 0 always takes the likeliest token. Default: 0.7. */
  temperature?: number
  /** Choose among the likeliest tokens that hold this share of the probability. Default: 0.8; 1 when thinking. */
  topP?: number
  /** Choose among this many of the likeliest tokens; 0 is no limit. Default: 100; 50 when thinking. */
  topK?: number
  /** Drop tokens with less than this share of the likeliest one's probability. Default: 0. */
  minP?: number
  /** Above 1, tokens already generated become less likely. Default: 1.03; 1 when thinking. */
  repetitionPenalty?: number
  /** Makes sampling repeatable on the same machine and version. Default: new each time. */
  seed?: number
  /** Texts that end the answer, at most 16 of 256 bytes each; they are not part of it. */
  stop?: string | readonly string[]
  /** Log-probability of each token and of this many rivals. */
  logprobs?: number
  /** Most slices that a large picture is cut into. Default: the model's, 9. */
  maxSlices?: number
  /** Number the pictures in the prompt. Default: true; false with a clip. */
  imageIds?: boolean
  /** Aborts the request. */
  signal?: AbortSignal
}

/** Which table of options a name is looked up in. */
type Kind = 'request' | 'model' | 'picture' | 'clip'

/** Longest text of an option: far more than any takes, and copied in no time. */
const LONGEST = 65_536

const { parts: mostItems } = limits()

/**
 * Options as the binding takes them: a name, and a value under the name of its type. Nothing is checked here but names;
 * `mine` are those that stay in JavaScript.
 */
export function nativeOptions(kind: Kind, given: unknown, mine: readonly string[] = []): NativeOption[] {
  if (given === undefined) return []
  if (!isRecord(given)) throw new KarstError('invalid_option', `options are an object, not ${kindOf(given)}`)
  const options: NativeOption[] = []
  for (const name of read('options', () => Object.keys(given))) {
    entered(() => checkName(kind, name, [...mine]))
    const option = read(`option '${name}'`, () => (mine.includes(name) ? undefined : tagged(name, given[name])))
    if (option !== undefined) options.push(option)
  }
  return options
}

/** An option that stays in JavaScript, read once. */
export function ownOption<T>(given: unknown, name: string, fits: (value: unknown) => value is T, takes: string) {
  const value = isRecord(given) ? read(`option '${name}'`, () => given[name]) : undefined
  if (value === undefined || fits(value)) return value
  throw new KarstError('invalid_option', `option '${name}' takes ${takes}, not ${kindOf(value)}`)
}

/** The signal among options; one of another realm is as good. */
export function signalOf(given: unknown): AbortSignal | undefined {
  const fits = (value: unknown): value is AbortSignal =>
    isRecord(value) && typeof value.aborted === 'boolean' && typeof value.addEventListener === 'function'
  return ownOption(given, 'signal', fits, 'an AbortSignal')
}

/** Reads what may run foreign code: a getter, a proxy. */
export function read<T>(what: string, get: () => T, code: 'invalid_option' | 'invalid_message' = 'invalid_option'): T {
  try {
    return get()
  } catch (error) {
    if (error instanceof KarstError) throw error
    throw new KarstError(code, `${what} cannot be read: ${error instanceof Error ? error.message : kindOf(error)}`, {
      cause: error,
    })
  }
}

function tagged(name: string, value: unknown): NativeOption | undefined {
  switch (typeof value) {
    case 'undefined':
      return undefined
    case 'number':
      return { name, number: value }
    case 'boolean':
      return { name, flag: value }
    case 'string':
      return value.length > LONGEST ? { name, other: `a string of ${value.length} characters` } : { name, text: value }
    default:
      return Array.isArray(value) ? listed(name, value) : { name, other: kindOf(value) }
  }
}

function listed(name: string, value: readonly unknown[]): NativeOption {
  if (value.length > mostItems) return { name, other: `a list of ${value.length} items` }
  const items = Array.from(value)
  if (isListOf(items, isText)) return { name, list: items }
  if (isListOf(items, isNumber)) return { name, numbers: items }
  if (isListOf(items, isGroup)) return { name, groups: items.map((group) => Array.from(group)) }
  return { name, other: `a list with ${kindOf(items.find((item) => !isText(item)))}` }
}

function isListOf<T>(items: unknown[], fits: (item: unknown) => item is T): items is T[] {
  return items.every(fits)
}

const isText = (item: unknown): item is string => typeof item === 'string' && item.length <= LONGEST
const isNumber = (item: unknown): item is number => typeof item === 'number'
const isGroup = (item: unknown): item is number[] =>
  Array.isArray(item) && item.length <= mostItems && Array.from(item).every(isNumber)
