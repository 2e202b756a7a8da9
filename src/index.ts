/**
 * MiniCPM-V 4.5 in a TypeScript program.
 *
 * ```ts
 * import { load, image } from 'karst'
 *
 * await using model = await load('demo')
 * const answer = await model.chat([{ role: 'user', content: [image('photo.jpg'), 'What is in the picture?'] }])
 * console.log(answer.text)
 * ```
 *
 * @packageDocumentation
 */

import './dispose.js'

export type { Alternative, Answer, Event, TokenLogprob } from './answer.js'
export { AbortError, type ErrorCode, KarstError } from './error.js'
export type { Group, Info, Inspection, PartInspection, Size } from './info.js'
export { type LoadOptions, load, type Progress } from './load.js'
export type { Message } from './message.js'
export type { Model } from './model.js'
export type { Options } from './options.js'
export {
  type FramesOptions,
  frames,
  type ImageOptions,
  type ImageSource,
  image,
  type Part,
  type RawImage,
  type Rgb,
} from './part.js'
export type { Stream } from './stream.js'
