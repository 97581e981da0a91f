/**
 * Shapes that read everything a grammar names, and the same of a tree, so that the two decoders can be compared.
 */
import type { Grammar } from '../../src/diameter/dictionary.js'
import { shape, type Fields, type Shape } from '../../src/diameter/message.js'
import type { AvpTree } from '../../src/diameter/tree.js'
import { dictionary } from './vectors.js'

/** Values by AVP name: a list for each member that may repeat. */
export type Everything = Record<string, unknown>

const shapes = new Map<string, Shape<Everything>>()

/** @param grammarOf a command or group; every group in it is read whole as well */
export function shapeOfAll(grammarOf: string): Shape<Everything> {
  let found = shapes.get(grammarOf)
  if (!found) {
    const members = dictionary.grammar(grammarOf).members.filter(({ avp }) => avp.name !== 'Failed-AVP')
    const Type = function (this: Everything): void {
      for (const { avp, max } of members) this[avp.name] = max > 1 ? [] : undefined
    } as unknown as new () => Everything
    const fields: Record<string, unknown> = {}
    for (const { avp } of members) {
      fields[avp.name] = avp.type === 'Grouped' ? [avp.name, shapeOfAll(avp.name)] : avp.name
    }
    shapes.set(grammarOf, (found = shape(dictionary, grammarOf, Type, fields as Fields<Everything>)))
  }
  return found
}

/** What `shapeOfAll` reads, of a tree. */
export function everythingOf(avps: readonly AvpTree[], grammar: Grammar): Everything {
  const all: Everything = {}
  for (const { avp, max } of grammar.members) {
    if (avp.name === 'Failed-AVP') continue
    const values = avps
      .filter(each => each.code === avp.code && each.vendorId === avp.vendorId)
      .map(({ value }) => (Array.isArray(value) ? everythingOf(value, avp.grammar!) : value))
    all[avp.name] = max > 1 ? values : values[0]
  }
  return all
}
