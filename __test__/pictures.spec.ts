// What image() and frames() take and refuse; the pictures of rows I1 to I10 that reach them from JavaScript.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import test from 'ava'
import {
  type ErrorCode,
  type FramesOptions,
  frames,
  type ImageOptions,
  type ImageSource,
  image,
  load,
  type Model,
  type Part,
} from 'karst'
import { ANSWER, ask, GREEDY, refused, sample, stillRight } from './helpers.js'
import { header, png } from './png.js'

let model: Model
test.before(async () => {
  model = await load('demo')
})
test.after.always(() => model?.close())

const describe = async (part: Part) => (await model.chat(ask(part, 'What is in the picture?'), GREEDY)).text
const path = sample('circle-square.png')
const file = readFileSync(path)

test('a_picture_is_a_path_a_url_bytes_or_pixels', async (t) => {
  const data = `data:image/png;base64,${file.toString('base64')}`
  const sources: ImageSource[] = [
    path,
    pathToFileURL(path),
    pathToFileURL(path).href,
    file,
    new Uint8Array(file),
    data,
    new URL(data),
  ]
  for (const source of sources) t.is(await describe(image(source)), ANSWER)
  const shared = new Uint8Array(new SharedArrayBuffer(file.length))
  shared.set(file)
  t.is(await describe(image(shared)), ANSWER)
  const within = new Uint8Array(file.length + 20)
  within.set(file, 10)
  t.is(await describe(image(within.subarray(10, 10 + file.length))), ANSWER)
})

test('pixels_are_rgb_rows_from_the_top', async (t) => {
  const [width, height] = [400, 300]
  const pixels = (Type: typeof Uint8Array | typeof Uint8ClampedArray) => {
    const data = new Type(3 * width * height).fill(255)
    for (let y = 0; y < height; y += 1)
      for (let x = 0; x < width; x += 1)
        if ((x - 200) ** 2 + (y - 150) ** 2 < 80 ** 2) data.set([220, 40, 40], 3 * (y * width + x))
    return { data, width, height }
  }
  const ask1 = async (source: ImageSource) =>
    (await model.chat(ask(image(source), 'What color is the circle?'), GREEDY)).text
  t.is(await ask1(pixels(Uint8Array)), 'Red.')
  t.is(await ask1(pixels(Uint8ClampedArray)), 'Red.')
})

test('i6_the_layout_of_pixels_is_said_and_never_guessed_from_a_shape', async (t) => {
  // Where a guess between channels first and channels last would go wrong: sides of 1 and of 3.
  for (const [width, height] of [
    [1, 1],
    [1, 3],
    [3, 1],
    [3, 3],
  ] as const) {
    const part = image({ data: new Uint8Array(3 * width * height), width, height })
    const { parts } = await model.inspect(ask(part, 'What is it?'))
    t.deepEqual(parts[0]?.groups[0]?.size, { width, height })
    t.is((await model.chat(ask(part, 'What is it?'), { ...GREEDY, maxTokens: 2 })).usage.imageTokens, 64)
  }
  await stillRight(t, model)
})

test('n9_sides_are_not_multiplied_in_32_bits', async (t) => {
  const raw =
    (width: unknown, height: unknown, length = 3) =>
    () =>
      image({ data: new Uint8Array(length), width, height } as ImageSource)
  await refused(t, raw(30_000, 30_000), 'picture_too_large', /30000 x 30000/)
  await refused(t, raw(65_536, 65_536), 'picture_too_large', /65536 x 65536/)
  await refused(t, raw(2 ** 32 + 1, 1), 'invalid_picture', /whole number of pixels, not 4294967297/)
  await refused(t, raw(0, 1), 'invalid_picture', /0 x 1 pixels is empty/)
  for (const side of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    await refused(t, raw(side, 1), 'invalid_picture', /'width' of a picture is a whole number of pixels, not /)
  }
  await refused(t, raw('1', 1), 'invalid_picture', /have a width and a height, not a string and the number 1/)
  await refused(t, raw(2, 2, 16), 'invalid_picture', /2 x 2 pixels of RGB need 12 bytes, 16 were given/)
  await stillRight(t, model)
})

test('anything_else_is_no_picture', async (t) => {
  const wrong = [
    undefined,
    null,
    1,
    {},
    [],
    new ArrayBuffer(8),
    new Uint16Array(4),
    Symbol('x'),
    new Blob([]),
    () => path,
  ]
  for (const source of wrong) {
    await refused(
      t,
      () => image(source as ImageSource),
      'invalid_picture',
      /^a picture is a path, a URL, bytes .*, not /,
    )
  }
  await refused(
    t,
    () => image({ data: [1, 2, 3], width: 1, height: 1 } as never),
    'invalid_picture',
    /Uint8Array, not a list/,
  )
})

test('addresses_are_not_fetched', async (t) => {
  for (const address of [
    'http://localhost/x.png',
    'https://localhost/x.png',
    'HTTPS://x/y',
    'ftp://x/y',
    new URL('http://x/y'),
  ]) {
    const error = await refused(t, () => image(address), 'picture_not_found', /^pictures are not fetched: /)
    t.regex(error.hint ?? '', /bytes/)
  }
  await refused(t, () => image('file://host/share/x.png'), 'picture_not_found', /names no file/)
})

test('a_file_that_is_no_picture_is_told_so', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'karst-'))
  const at = (name: string, bytes: Uint8Array | string) => {
    writeFileSync(join(folder, name), bytes)
    return join(folder, name)
  }
  const cases: [ImageSource, ErrorCode, RegExp][] = [
    [join(folder, 'none.png'), 'picture_not_found', /none\.png/],
    [folder, 'picture_not_found', /./],
    ['', 'picture_not_found', /./],
    ['nul\0byte.png', 'picture_not_found', /./],
    [at('empty.png', ''), 'invalid_picture', /./],
    [at('text.png', 'not a picture'), 'invalid_picture', /./],
    [at('cut.png', file.subarray(0, file.length / 2)), 'invalid_picture', /./],
    [new Uint8Array(0), 'invalid_picture', /./],
    [Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'), 'invalid_picture', /./],
    [Buffer.alloc(21 << 20), 'picture_too_large', /22020096/],
    [Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), header(60_000, 60_000)]), 'picture_too_large', /60000/],
    [png(2000, 1, 3, () => [0, 0, 0]), 'picture_too_thin', /2000/],
    ['data:,hello', 'invalid_data_url', /./],
    ['data:image/png;base64,!!!!', 'invalid_data_url', /./],
    ['data:image/png;base64', 'invalid_data_url', /./],
    ['data:image/png;base64,aGVsbG8=', 'invalid_picture', /./],
    [`data:image/png;base64,${'A'.repeat(30 << 20)}`, 'picture_too_large', /./],
  ]
  for (const [source, code, words] of cases) {
    await refused(t, () => describe(image(source)), code, words)
    await stillRight(t, model)
  }
  rmSync(folder, { recursive: true })
})

test('a_picture_is_named_by_its_place_when_it_is_refused', async (t) => {
  const parts = [image(path), image(Buffer.from('no picture'))]
  await refused(t, () => model.chat(ask(...parts, 'x')), 'invalid_picture', /picture 2/)
})

test('the_options_of_a_picture_are_checked_at_once', async (t) => {
  const wrong = (options: unknown) => () => image(path, options as ImageOptions)
  await refused(
    t,
    wrong({ maxslices: 1 }),
    'invalid_option',
    /^unknown option 'maxslices'; did you mean 'maxSlices'\?$/,
  )
  for (const maxSlices of [0, 37, 1.5, '4', null, Number.NaN]) {
    await refused(
      t,
      wrong({ maxSlices }),
      'invalid_option',
      /option 'maxSlices' takes a whole number from 1 to 36, not /,
    )
  }
  for (const background of [
    'white',
    [1, 2],
    [1, 2, 3, 4],
    [1, 2, 256],
    [1, 2, -1],
    [1, 2, 0.5],
    0,
    null,
    ['a', 'b', 'c'],
  ]) {
    await refused(
      t,
      wrong({ background }),
      'invalid_option',
      /option 'background' takes 'drop-alpha' or three whole numbers/,
    )
  }
  for (const orientation of ['EXIF', 1, true]) {
    await refused(t, wrong({ orientation }), 'invalid_option', /option 'orientation' takes 'exif' or 'ignore', not /)
  }
  for (const options of [null, 1, 'x', []]) await refused(t, wrong(options), 'invalid_option', /^options are an object/)
  t.is(await describe(image(path, { maxSlices: 1, background: [0, 0, 0], orientation: 'ignore' })), ANSWER)
})

test('max_slices_of_a_picture_go_before_those_of_the_request', async (t) => {
  const views = async (own?: number, request?: number) => {
    const part = image(sample('sliced-shapes.png'), { maxSlices: own })
    const plan = await model.inspect(ask(part), { maxSlices: request })
    return plan.parts[0]?.groups[0]?.views.length
  }
  t.is(await views(), 7)
  t.is(await views(1), 1)
  t.is(await views(undefined, 1), 1)
  t.is(await views(9, 1), 7)
})

test('transparency_shows_the_background', async (t) => {
  const square = png(448, 448, 4, (x, y) =>
    x > 150 && x < 300 && y > 150 && y < 300 ? [30, 60, 220, 255] : [0, 0, 0, 0],
  )
  const ground = async (background?: ImageOptions['background']) =>
    (await model.chat(ask(image(square, { background }), 'Is the background light or dark?'), GREEDY)).text
  t.is(await ground(), 'Light.')
  t.is(await ground([255, 255, 255]), 'Light.')
  t.is(await ground([0, 0, 0]), 'Dark.')
  t.is(await ground('drop-alpha'), 'Dark.')
})

const up = ['00', '01', '02', '03', '04'].map((name) => sample(`up/${name}.png`))
const which = async (part: Part) => (await model.chat(ask(part, 'Which way does the star move?'), GREEDY)).text

test('a_clip_is_timed_by_times_fps_or_temporal_ids', async (t) => {
  t.is(await which(frames(up, { temporalIds: [[1, 4, 8, 11, 14]] })), 'Up.')
  t.is(await which(frames(up, { times: [0.1, 0.4, 0.8, 1.1, 1.4], packing: 5 })), 'Up.')
  t.is(await which(frames(up, { fps: 3, packing: 6 })), 'Up.')
  t.is(await which(frames(up.toReversed(), { times: [0.1, 0.4, 0.8, 1.1, 1.4], packing: 5 })), 'Down.')
  const bytes = up.map((name) => new Uint8Array(readFileSync(name)))
  t.is(await which(frames(bytes, { temporalIds: [[1, 4, 8, 11, 14]] })), 'Up.')
})

test('packing_says_how_many_frames_share_tokens', async (t) => {
  const tokens = async (packing: 1 | 2 | 5) => (await model.inspect(ask(frames(up, { fps: 3, packing })))).imageTokens
  t.is(await tokens(1), 5 * 64)
  t.is(await tokens(2), 3 * 64)
  t.is(await tokens(5), 64)
})

test('clips_that_do_not_fit_together_are_refused', async (t) => {
  const wrong = (pictures: unknown, options: unknown) => () =>
    model.inspect(ask(frames(pictures as string[], options as FramesOptions)))
  for (const pictures of [undefined, null, 'x', {}, 1]) {
    await refused(t, wrong(pictures, { fps: 1 }), 'invalid_clip', /^frames are a list, not /)
  }
  await refused(t, wrong([], { fps: 1 }), 'invalid_clip', /./)
  await refused(t, wrong(Array(1e9), { fps: 1 }), 'too_many_pictures', /1000000000 frames is too long: at most 1080/)
  await refused(t, wrong([undefined], { fps: 1 }), 'invalid_picture', /not undefined/)
  for (const options of [undefined, {}, { packing: 2 }, { fps: 1, times: [1] }]) {
    await refused(t, wrong(up, options), 'invalid_clip', /exactly one of 'times', 'fps' and 'temporalIds'/)
  }
  await refused(
    t,
    wrong(up, { temporalIds: [[1, 2, 3, 4, 5]], packing: 5 }),
    'invalid_clip',
    /'packing' does not go with 'temporalIds'/,
  )
  for (const packing of [0, 7, 1.5, '2']) {
    await refused(
      t,
      wrong(up, { fps: 1, packing }),
      'invalid_option',
      /option 'packing' takes a whole number from 1 to 6, not /,
    )
  }
  for (const temporalIds of [[], [1, 2, 3, 4, 5], [[1, 2, 3, 4, -1]], [[1, 2, 3, 4, 72_000]], [['1']], 'x', [[0.5]]]) {
    await refused(
      t,
      wrong(up, { temporalIds }),
      'invalid_option',
      /option 'temporalIds' takes lists of whole numbers from 0 to 71999/,
    )
  }
  for (const temporalIds of [[[1, 2, 3, 4]], [[1, 2, 3, 4, 5, 6]], [[1, 2], [], [3, 4, 5]], [[1], [2, 3, 4, 5], [6]]]) {
    await refused(t, wrong(up, { temporalIds }), 'invalid_clip', /./)
  }
  for (const times of [
    [1, 2, 3, 4],
    [5, 4, 3, 2, 1],
    [1, 2, 3, 4, Number.NaN],
    [1, 2, 3, 4, Number.POSITIVE_INFINITY],
    [-1, 0, 1, 2, 3],
  ]) {
    await refused(t, wrong(up, { times }), 'invalid_clip', /./)
  }
  for (const fps of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
    await refused(t, wrong(up, { fps }), 'invalid_clip', /./)
  await refused(t, wrong(up, { fps: '3' }), 'invalid_option', /option 'fps' takes a number of frames a second/)
  await refused(t, wrong([...up.slice(0, 4), path], { fps: 3, packing: 5 }), 'invalid_clip', /one size/)
  await stillRight(t, model)
})
