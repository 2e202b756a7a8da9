import { type Command, InvalidArgumentError, Option } from 'commander'
import type { LoadOptions } from '../load.js'
import { type NativeOptionRow, optionTable } from '../native.js'
import type { Options } from '../options.js'

/** Flags as the parser gives them: by the names of the options. */
export type Flags = Record<string, unknown>

/** Flags that choose the model. */
export function withModelFlags(command: Command): Command {
  return command
    .option('-m, --model <folder>', "the model's folder, or demo", 'demo')
    .option('--device <device>', 'what computes: auto, cpu or cuda:N (default: auto)')
    .addOption(new Option('--max-context <n>', 'most tokens of a conversation (default: 8192)').argParser(number))
}

/** Options of a request that change nothing that the command line shows. */
const UNSEEN = ['logprobs']

/** A flag for each option of a request, by the table that checks them. */
export function withRequestFlags(command: Command): Command {
  for (const row of optionTable()) if (!UNSEEN.includes(row.name)) command.addOption(flag(row))
  return command
}

/** The model's options among flags. */
export function loadOptions(flags: Flags): LoadOptions {
  return only(flags, ['device', 'maxContext'])
}

/** A request's options among flags. */
export function requestOptions(flags: Flags): Options {
  const names = optionTable().map((row) => row.name)
  return only(flags, names)
}

function only(flags: Flags, names: string[]): object {
  return Object.fromEntries(names.filter((name) => flags[name] !== undefined).map((name) => [name, flags[name]]))
}

function flag({ name, kind, min, max, default: preset, doc }: NativeOptionRow): Option {
  const kebab = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
  const range = min === undefined ? '' : `; ${min} to ${max}`
  const text = `${doc.charAt(0).toLowerCase()}${doc.slice(1).replace(/\.$/, '')} (default: ${preset}${range})`
  switch (kind) {
    case 'boolean':
      return name === 'thinking'
        ? new Option('--think, --thinking', text)
        : new Option(`--${kebab} <true|false>`, text).argParser(truth)
    case 'strings':
      return new Option(`--${kebab} <text>`, `${text}; may be given again`).argParser(collect)
    default:
      return new Option(`--${kebab} <n>`, text).argParser(number)
  }
}

function collect(text: string, before: string[] = []): string[] {
  return [...before, text]
}

function number(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || Number.isNaN(value)) throw new InvalidArgumentError('It takes a number.')
  return value
}

function truth(text: string): boolean {
  if (text !== 'true' && text !== 'false') throw new InvalidArgumentError('It takes true or false.')
  return text === 'true'
}
