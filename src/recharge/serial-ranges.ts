/** Sets of serial numbers, as a batch of vouchers keeps which of them are blocked: `1-100,345-345`, ascending, never adjoining. */

/** Both ends are in it. */
export interface SerialRange {
  readonly from: number
  readonly to: number
}

export function readRanges(text: string): SerialRange[] {
  if (text === '') return []
  return text.split(',').map(part => {
    const [from, to] = part.split('-').map(Number)
    return { from: from!, to: to! }
  })
}

export const writeRanges = (ranges: readonly SerialRange[]): string =>
  ranges.map(({ from, to }) => `${from}-${to}`).join(',')

export function withRange(ranges: readonly SerialRange[], { from, to }: SerialRange): SerialRange[] {
  const apart = ranges.filter(each => each.to + 1 < from || each.from > to + 1)
  const touched = ranges.filter(each => !apart.includes(each))
  const joined = {
    from: Math.min(from, ...touched.map(each => each.from)),
    to: Math.max(to, ...touched.map(each => each.to)),
  }
  return [...apart, joined].sort((a, b) => a.from - b.from)
}

export const withoutRange = (ranges: readonly SerialRange[], { from, to }: SerialRange): SerialRange[] =>
  ranges.flatMap(each => [
    ...(each.from < from ? [{ from: each.from, to: Math.min(each.to, from - 1) }] : []),
    ...(each.to > to ? [{ from: Math.max(each.from, to + 1), to: each.to }] : []),
  ])

export const sizeOf = (ranges: readonly SerialRange[]): number =>
  ranges.reduce((sum, { from, to }) => sum + to - from + 1, 0)
