import { existsSync } from 'node:fs'
import { extname } from 'node:path'
import { KarstError } from '../error.js'
import type { Message } from '../message.js'
import { image, type Part } from '../part.js'

/** What a command line asks: pictures first, then the question, each if there is one. */
export interface Asked {
  /** As they were named. */
  names: string[]
  pictures: Part[]
  question?: string
}

const PICTURE_ENDINGS = new Set(['.jpg', '.jpeg', '.png', '.webp', '.gif', '.bmp', '.tif', '.tiff'])

/** The last argument is the question unless it is, or looks like, a picture. */
export function asked(args: string[]): Asked {
  const last = args.at(-1)
  const question = last !== undefined && !isPicture(last) ? last : undefined
  const names = question === undefined ? args : args.slice(0, -1)
  return { names, pictures: names.map(picture), ...(question !== undefined && { question }) }
}

/** A picture of the command line, refused at once if it is not there. */
export function picture(name: string): Part {
  if (!isAddress(name) && !existsSync(name)) {
    throw new KarstError('picture_not_found', `there is no picture '${name}'`, {
      hint: 'Pictures come first, then the question as one argument, in quotes.',
    })
  }
  return image(name)
}

/** The user's turn. */
export function turn(pictures: Part[], text: string): Message {
  return { role: 'user', content: [...pictures, text] }
}

function isPicture(argument: string): boolean {
  if (isAddress(argument) || existsSync(argument)) return true
  return !/\s/.test(argument) && PICTURE_ENDINGS.has(extname(argument).toLowerCase())
}

/** An address is no question, even one that `image` then refuses. */
function isAddress(argument: string): boolean {
  return /^(file:|data:|[a-z]+:\/\/)\S/i.test(argument)
}
