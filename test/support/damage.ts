/**
 * Random damage to messages, the same for the same seed: what oracle and fuzz tests feed to the codec.
 */

/** Whole numbers from 0 to below `below`. */
export type Random = (below: number) => number

/** mulberry32. */
export function randomOf(start: number): Random {
  let state = start >>> 0
  return below => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

/**
 * A copy of a message with one to three edits behind its header: an octet, a bit, an AVP code, a length, a run of octets
 * moved or a tail cut. The header's length is the copy's.
 *
 * @param codes AVP codes to write over others
 */
export function damaged(message: Buffer, random: Random, codes: readonly number[]): Buffer {
  let octets: Buffer = Buffer.from(message)
  for (let edits = random(3) + 1; edits > 0 && octets.length > 24; edits--) {
    const at = 20 + random(octets.length - 20)
    const aligned = at & ~3
    switch (random(7)) {
      case 0:
        octets[at] = random(256)
        break
      case 1:
        octets[at]! ^= 1 << random(8)
        break
      case 2:
        octets.writeUInt32BE(codes[random(codes.length)]!, aligned)
        break
      case 3: // to AVP Length, if it is one
        octets[at | 3] = random(64)
        break
      case 4:
        octets.copy(octets, aligned, 20 + (random(octets.length - 20) & ~3))
        break
      case 5: // an AVP, or a part of one, twice
        octets = Buffer.concat([octets, octets.subarray(aligned)])
        break
      default:
        octets = octets.subarray(0, aligned)
    }
    if (octets.length > 65_536) octets = octets.subarray(0, 65_536)
  }
  octets.writeUIntBE(octets.length, 1, 3)
  return octets
}
