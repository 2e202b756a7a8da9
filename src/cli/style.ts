/** Where something is written, and whether a person reads it. */
type Output = NodeJS.WriteStream

function coloured(output: Output): boolean {
  return output.isTTY === true && process.env.NO_COLOR === undefined && process.env.TERM !== 'dumb'
}

/** Less important. */
export function dim(text: string, output: Output): string {
  return coloured(output) ? `\x1b[2m${text}\x1b[22m` : text
}

/** A heading. */
export function bold(text: string, output: Output): string {
  return coloured(output) ? `\x1b[1m${text}\x1b[22m` : text
}

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB']

/** Bytes for people. */
export function size(bytes: number): string {
  const unit = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), UNITS.length - 1)
  const value = bytes / 1024 ** unit
  return `${value.toFixed(unit === 0 || value >= 100 ? 0 : 1)} ${UNITS[unit]}`
}

/** A count and its noun. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
