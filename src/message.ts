import { entered, KarstError } from './error.js'
import { checkName, limits, type NativeMessage } from './native.js'
import { read } from './options.js'
import { nativePart, type Part } from './part.js'
import { isRecord, kindOf } from './values.js'

/** One turn of a conversation. A string in `content` is text, never a file's name. */
export interface Message {
  /** `system` only as the first; the last is the `user`'s. */
  role: 'system' | 'user' | 'assistant'
  /** Texts, pictures and clips in order. Lone surrogates in a text become U+FFFD. */
  content: string | readonly (string | Part)[]
  /** An assistant's thoughts, kept apart from its text. The model does not see those of earlier turns. */
  reasoning?: string
}

const FIELDS = ['role', 'content', 'reasoning']

const most = limits()

/** A conversation as the binding takes it. Whether it makes sense is checked in Rust. */
export function nativeMessages(messages: unknown): NativeMessage[] {
  const list = read('the messages', () => listOf(messages, 'messages', most.messages), 'invalid_message')
  const room = { bytes: most.textBytes }
  return list.map((message, index) =>
    read(`message ${index + 1}`, () => nativeMessage(message, index, room), 'invalid_message'),
  )
}

/** How many bytes of text a conversation may still have. */
interface Room {
  bytes: number
}

function nativeMessage(message: unknown, index: number, room: Room): NativeMessage {
  const place = `message ${index + 1}`
  if (!isRecord(message)) throw invalid(`${place} is an object with role and content, not ${kindOf(message)}`)
  for (const name of Object.keys(message)) entered(() => checkName('field', name, FIELDS))
  const { role, content, reasoning } = message
  if (typeof role !== 'string') throw invalid(`the role of ${place} is a string, not ${kindOf(role)}`)
  if (reasoning !== undefined && typeof reasoning !== 'string') {
    throw invalid(`the reasoning of ${place} is a string, not ${kindOf(reasoning)}`)
  }
  entered(() => checkName('role', role, []))
  return { role, content: nativeContent(content, place, room), reasoning: take(reasoning, room) }
}

function nativeContent(content: unknown, place: string, room: Room): NativeMessage['content'] {
  const parts = typeof content === 'string' ? [content] : listOf(content, `the content of ${place}`, most.parts)
  return parts.map((part, index) => {
    if (typeof part === 'string') return take(part, room)
    const native = nativePart(part)
    if (native !== undefined) return native
    throw invalid(`part ${index + 1} of ${place} is a string, an image() or frames(), not ${kindOf(part)}`)
  })
}

/** A text, before it is copied: a character has at least one byte. */
function take<T extends string | undefined>(text: T, room: Room): T {
  room.bytes -= text?.length ?? 0
  if (room.bytes >= 0) return text
  throw new KarstError('context_overflow', `the conversation has more than ${most.textBytes} bytes of text`)
}

function listOf(value: unknown, what: string, limit: number): unknown[] {
  if (!Array.isArray(value)) throw invalid(`${what} must be a list, not ${kindOf(value)}`)
  if (value.length > limit) throw invalid(`${what} must be at most ${limit}, not ${value.length}`)
  return Array.from(value)
}

function invalid(message: string): KarstError {
  return new KarstError('invalid_message', message)
}
