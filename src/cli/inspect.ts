import { Command } from 'commander'
import type { Group, Info, Inspection, PartInspection } from '../info.js'
import { type Asked, asked, turn } from './arguments.js'
import { type Flags, requestOptions, withModelFlags, withRequestFlags } from './flags.js'
import { withModel } from './open.js'
import { bold, counted, size } from './style.js'

const HELP = `
Nothing runs on the model. Pictures and a question are described as "karst chat" would take them.

Examples:
  karst inspect
  karst inspect --model /models/MiniCPM-V-4_5 scan.png "Read the text."
  karst inspect --json photo.jpg
`

/** `karst inspect`. */
export function inspectCommand(): Command {
  const command = new Command('inspect')
    .description('show device, model, memory and limits, and what pictures and a question become')
    .argument('[pictures and question...]', 'picture files, then the question in quotes')
    .option('--json', 'print it as JSON')
  withRequestFlags(withModelFlags(command))
  return command.addHelpText('after', HELP).action(inspect)
}

async function inspect(args: string[], flags: Flags): Promise<void> {
  const what = asked(args)
  await withModel(flags, async (model) => {
    const messages = [turn(what.pictures, what.question ?? '')]
    const found = args.length > 0 ? await model.inspect(messages, requestOptions(flags)) : undefined
    const text = flags.json
      ? JSON.stringify({ ...model.info, conversation: found }, null, 2)
      : described(model.info, what, found)
    process.stdout.write(`${text}\n`)
  })
}

function described(info: Info, what: Asked, found: Inspection | undefined): string {
  const { device, model, memory, limits } = info
  const rows: [string, string][] = [
    ['Device', `${device.name} (${device.why}): ${device.description}`],
    ['Model', `${model.name}, ${size(model.bytes)}, ${model.quantization}`],
    [
      '',
      `decoder: ${model.layers} layers, ${model.hidden} wide, ${model.heads} heads over ${model.kvHeads}, ${model.vocabulary} tokens`,
    ],
    ['', `vision: ${model.visionLayers} layers, ${model.visionHidden} wide`],
    ['Memory', `${size(memory.weights)} of weights, ${size(memory.cache)} for keys and values`],
    [
      'Limits',
      `${limits.maxContext} tokens a conversation (the model could ${model.maxPositions}), ${limits.maxSlices} slices a picture`,
    ],
    ['', `${limits.maxRequests} requests at once, ${limits.maxWaiting} may wait`],
  ]
  const lines = rows.map(([name, text]) => `${bold(name.padEnd(8), process.stdout)}${text}`)
  return found === undefined ? lines.join('\n') : [...lines, '', ...conversation(what, found)].join('\n')
}

function conversation(what: Asked, found: Inspection): string[] {
  const parts = found.parts.map((part, index) => `${what.names[index] ?? part.type}: ${partText(part)}`)
  const room =
    found.maxTokens > 0
      ? `room for an answer of ${found.maxTokens}`
      : `too long: the context has ${found.maxContext} tokens in all`
  const memory = `${size(found.pixelBytes)} of pixels, ${size(found.cacheBytes)} of keys and values`
  const prompt = `${counted(found.promptTokens, 'token')}, ${found.imageTokens} of pictures; ${room}; ${memory}`
  return [...parts, `${bold('Prompt  ', process.stdout)}${prompt}`]
}

function partText({ groups }: PartInspection): string {
  return groups.map(groupText).join('; ')
}

function groupText({ size: sides, grid, views, patches, tokens }: Group): string {
  const [overview, slice] = views
  const shape = overview === undefined ? '' : `an overview of ${overview.width} x ${overview.height}`
  const slices =
    grid === undefined || slice === undefined
      ? ''
      : ` and ${grid.columns} x ${grid.rows} slices of ${slice.width} x ${slice.height}`
  return `${sides.width} x ${sides.height} pixels -> ${shape}${slices}, ${patches} patches, ${tokens} tokens`
}
