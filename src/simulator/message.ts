/**
 * Messages as a gateway reads them: any AVP by its name, as deep as wanted. The plain decoder, because a gateway of ours
 * must also show what it did not expect.
 */
import type { Dictionary } from '../diameter/dictionary.js'
import type { Header } from '../diameter/header.js'
import { decodeTree, type AvpTree, type AvpValue } from '../diameter/tree.js'

/** The AVPs of a message or group. What is absent, or of another type than asked for, is undefined. */
export class Avps {
  constructor(readonly list: readonly AvpTree[]) {}

  /** All of this name, in order. */
  all(name: string): AvpTree[] {
    return this.list.filter(avp => avp.name === name)
  }

  /** Value of the first one. */
  value(name: string): AvpValue | undefined {
    return this.list.find(avp => avp.name === name)?.value
  }

  number(name: string): number | undefined {
    const value = this.value(name)
    return typeof value === 'number' ? value : undefined
  }

  /** 32 or 64 bit. */
  bigint(name: string): bigint | undefined {
    const value = this.value(name)
    return typeof value === 'number' || typeof value === 'bigint' ? BigInt(value) : undefined
  }

  text(name: string): string | undefined {
    const value = this.value(name)
    return typeof value === 'string' ? value : undefined
  }

  group(name: string): Avps | undefined {
    return this.groups(name)[0]
  }

  groups(name: string): Avps[] {
    return this.all(name).flatMap(({ value }) => (Array.isArray(value) ? [new Avps(value)] : []))
  }
}

export class Message extends Avps {
  readonly header: Header

  /** @throws DiameterError when the octets are no AVPs */
  constructor(
    dictionary: Dictionary,
    readonly octets: Buffer,
  ) {
    const { header, avps } = decodeTree(dictionary, octets)
    super(avps)
    this.header = header
  }

  get resultCode(): number {
    return this.number('Result-Code') ?? 0
  }
}
