import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { entered, KarstError } from './error.js'
import { limits, type NativeOption, NativePart } from './native.js'
import { nativeOptions, read } from './options.js'
import { isRecord, kindOf } from './values.js'

/** A still or a clip in a message. Made by {@link image} and {@link frames}; it may be used in any number of requests. */
export class Part {
  readonly type: 'image' | 'clip'
  readonly #native: NativePart

  /** @internal */
  constructor(type: 'image' | 'clip', native: NativePart) {
    this.type = type
    this.#native = native
  }

  /** @internal */
  static nativeOf(value: object): NativePart | undefined {
    return #native in value ? value.#native : undefined
  }
}

/** A picture: a path, a `file:` or `data:` URL, the bytes of a JPEG, PNG, WebP, GIF, BMP or TIFF file, or pixels. */
export type ImageSource = string | URL | Uint8Array | RawImage

/** Pixels: rows from the top, three bytes each (red, green, blue), no padding. */
export interface RawImage {
  data: Uint8Array | Uint8ClampedArray
  width: number
  height: number
}

/** A colour: red, green and blue, 0 to 255. */
export type Rgb = readonly [number, number, number]

/** How a picture is read. */
export interface ImageOptions {
  /** Most slices that it is cut into if it is large. Default: the request's. */
  maxSlices?: number
  /** What shows through where it is transparent, or `drop-alpha` to ignore transparency. Default: white. */
  background?: Rgb | 'drop-alpha'
  /** Whether the orientation noted in the file is applied. Default: `exif`. */
  orientation?: 'exif' | 'ignore'
}

/** When the frames of a clip were, and how many of them share 64 tokens. */
export type FramesOptions = (
  | {
      /** Seconds from the start, one a frame. */
      times: readonly number[]
    }
  | {
      /** Frames a second. */
      fps: number
    }
  | {
      /** Tenths of a second, one a frame, a list a pack: as the reference takes them. */
      temporalIds: readonly (readonly number[])[]
    }
) & {
  /** Frames a pack. Default: by the model card's rule. */
  packing?: 1 | 2 | 3 | 4 | 5 | 6
  /** Most slices of a frame. Default: 1. */
  maxSlices?: number
}

const most = limits()

/** Base64 has four characters for three bytes, and a data URL begins with a few more. */
const LONGEST_DATA_URL = Math.ceil(most.encodedBytes / 3) * 4 + 1024

/**
 * A picture for a message. Its options are checked at once; a file is read when a request needs it, and bytes are copied
 * now, so that they may be changed afterwards.
 */
export function image(source: ImageSource, options?: ImageOptions): Part {
  return new Part('image', still(source, nativeOptions('picture', options)))
}

/** The frames of a clip, in order, for a message. */
export function frames(pictures: readonly ImageSource[], options: FramesOptions): Part {
  if (!Array.isArray(pictures)) throw new KarstError('invalid_clip', `frames are a list, not ${kindOf(pictures)}`)
  const count = read('the frames', () => pictures.length)
  if (count > most.frames) {
    throw new KarstError('too_many_pictures', `a clip of ${count} frames is too long: at most ${most.frames}`)
  }
  const timing = nativeOptions('clip', options)
  const stills = read('the frames', () => Array.from(pictures, (picture) => still(picture, [])))
  return new Part(
    'clip',
    entered(() => NativePart.clip(stills, timing)),
  )
}

/** The binding's side of a part, if it is one. */
export function nativePart(value: unknown): NativePart | undefined {
  return typeof value === 'object' && value !== null ? Part.nativeOf(value) : undefined
}

function still(source: unknown, options: NativeOption[]): NativePart {
  if (typeof source === 'string') return entered(() => fromText(source, options))
  if (source instanceof URL) return entered(() => fromText(source.href, options))
  if (source instanceof Uint8Array) return entered(() => NativePart.bytes(source, options))
  if (isRecord(source) && !ArrayBuffer.isView(source) && 'data' in source) return fromPixels(source, options)
  const takes = 'a picture is a path, a URL, bytes (Uint8Array) or pixels ({ data, width, height })'
  throw new KarstError('invalid_picture', `${takes}, not ${kindOf(source)}`)
}

function fromText(source: string, options: NativeOption[]): NativePart {
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(source)?.[1]?.toLowerCase()
  if (scheme === 'data') return fromDataUrl(source, options)
  if (scheme === 'file') return NativePart.path(filePath(source), options)
  if (scheme !== undefined && source.slice(scheme.length).startsWith('://')) {
    throw new KarstError('picture_not_found', `pictures are not fetched: '${source.slice(0, 200)}' is an address`, {
      hint: 'Fetch it yourself and pass its bytes: image(new Uint8Array(await response.arrayBuffer())).',
    })
  }
  // A path means the folder in which the program is now, not the one in which it is when the request runs.
  return NativePart.path(resolve(source), options)
}

function fromDataUrl(source: string, options: NativeOption[]): NativePart {
  if (source.length <= LONGEST_DATA_URL) return NativePart.dataUrl(source, options)
  const message = `a data URL of ${source.length} characters is too long: at most ${LONGEST_DATA_URL}`
  throw new KarstError('picture_too_large', message)
}

function filePath(source: string): string {
  try {
    return fileURLToPath(source)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new KarstError('picture_not_found', `'${source.slice(0, 200)}' names no file: ${reason}`, { cause: error })
  }
}

function fromPixels(source: Record<string, unknown>, options: NativeOption[]): NativePart {
  const { data, width, height } = read('the pixels', () => ({ ...source }))
  if (!(data instanceof Uint8Array || data instanceof Uint8ClampedArray)) {
    throw new KarstError('invalid_picture', `the data of pixels are a Uint8Array, not ${kindOf(data)}`)
  }
  if (typeof width !== 'number' || typeof height !== 'number') {
    throw new KarstError(
      'invalid_picture',
      `pixels have a width and a height, not ${kindOf(width)} and ${kindOf(height)}`,
    )
  }
  const rgb = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  return entered(() => NativePart.pixels(rgb, width, height, options))
}
