import type { Progress } from '../load.js'

/** A bar is not worth a flicker: it appears after this many milliseconds. */
const PATIENCE = 200

/** Milliseconds from one drawing to the next. */
const PACE = 50

const WIDTH = 24

/** A bar on one line, only where a person looks. */
export class ProgressBar {
  readonly #title: string
  readonly #output: NodeJS.WriteStream
  readonly #start = performance.now()
  #drawn: number | undefined

  constructor(title: string, output: NodeJS.WriteStream) {
    this.#title = title
    this.#output = output
  }

  show({ phase, done, total }: Progress): void {
    const now = performance.now()
    const early = now - this.#start < PATIENCE || (this.#drawn !== undefined && now - this.#drawn < PACE)
    if (!this.#output.isTTY || early) return
    const share = total > 0 ? Math.min(done / total, 1) : 0
    const full = Math.round(share * WIDTH)
    const bar = '█'.repeat(full) + '░'.repeat(WIDTH - full)
    const percent = `${Math.floor(share * 100)}`.padStart(3)
    this.#output.write(`\r\x1b[K${this.#title}  ${bar} ${percent} %  ${phase}`)
    this.#drawn = now
  }

  clear(): void {
    if (this.#drawn !== undefined) this.#output.write('\r\x1b[K')
  }
}
