// What the compiler says of the kernels: registers, and memory that it needs because they do not suffice.

const ENTRY = /Compiling entry function '([^']+)'/
const STACK = /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/
const USED = /Used (\d+) registers/
/** Lines that hold nothing else; what remains is for people. */
const PLAIN = [ENTRY, STACK, USED, /Function properties for/, /bytes gmem/, /Compile time =/]

/** The kernels of an image, from the words of `ptxas -v`. */
export function kernelsIn(said) {
  const kernels = []
  for (const line of said.split('\n')) {
    const [, name] = ENTRY.exec(line) ?? []
    if (name) kernels.push({ name, registers: 0, stack: 0, spills: 0 })
    const kernel = kernels.at(-1)
    const [, stack, stores, loads] = STACK.exec(line)?.map(Number) ?? []
    if (kernel && stack !== undefined) Object.assign(kernel, { stack, spills: stores + loads })
    const [, registers] = USED.exec(line)?.map(Number) ?? []
    if (kernel && registers !== undefined) kernel.registers = registers
  }
  return kernels
}

/** What else the compiler said: warnings and errors. Of those that differ only in their line of generated text, the first. */
export function remarksIn(said) {
  const seen = new Set()
  const isNew = (line) => {
    const words = line.replace(/ptx input, line \d+/, 'ptx input')
    return words === line || (!seen.has(words) && seen.add(words))
  }
  const lines = said.split('\n').filter((line) => line.trim() !== '' && !PLAIN.some((plain) => plain.test(line)))
  return lines.filter(isNew).join('\n')
}

/** Registers of each kernel on each architecture; text has none before a driver compiles it. */
export function table(jobs, ledger) {
  const columns = [...new Set(jobs.map((job) => job.architecture))].filter((it) => it.startsWith('sm_'))
  const rows = new Map()
  for (const { architecture, image } of jobs) {
    for (const kernel of ledger[image].kernels) {
      rows.set(kernel.name, { ...rows.get(kernel.name), [architecture]: kernel })
    }
  }
  const names = [...rows.keys()].sort()
  const width = Math.max('kernel'.length, ...names.map((name) => name.length))
  const line = (name, cells) => [name.padEnd(width), ...cells.map((cell) => cell.padStart(WIDTH))].join(' ')
  const body = names.map((name) =>
    line(
      name,
      columns.map((it) => cell(rows.get(name)[it])),
    ),
  )
  return names.length === 0 ? '' : [line('kernel', columns), ...body, legend(rows)].join('\n')
}

const WIDTH = 8

/** Registers, and behind a mark the bytes of the stack that take the place of missing ones. */
function cell(kernel) {
  if (!kernel) return '-'
  const memory = Math.max(kernel.stack, kernel.spills)
  return memory > 0 ? `${kernel.registers}!${memory}` : String(kernel.registers)
}

function legend(rows) {
  const spilling = [...rows].filter(([, on]) => Object.values(on).some((it) => it.stack > 0 || it.spills > 0))
  return spilling.length === 0
    ? 'Registers a thread; no kernel spills.'
    : `Registers a thread; behind !, bytes spilled to memory, by ${spilling.length} of ${rows.size} kernels.`
}
