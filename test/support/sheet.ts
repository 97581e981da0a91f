/** Whether what a daemon sent is in the compatibility sheet. */
import { decodeTree, type AvpTree } from '../../src/diameter/tree.js'
import { sentNames } from '../conformance/compatibility.js'
import { dictionary } from './vectors.js'

let listed: ReadonlyMap<string, ReadonlySet<string>> | undefined

/** AVPs of a message of ours that the sheet does not list: `CCA: Rating-Group`. What was wrong, or came, is not looked into. */
export function unlisted(octets: Buffer): string[] {
  listed ??= sentNames(dictionary)
  const { header, avps } = decodeTree(dictionary, octets)
  const command = dictionary.command(header.commandCode, (header.flags & 0x80) !== 0)?.abbreviation ?? '?'
  const may = [listed.get(command), listed.get('refusal')]
  const found: string[] = []
  const walk = (list: readonly AvpTree[]): void => {
    for (const { name, value } of list) {
      if (!may.some(names => names?.has(name))) found.push(`${command}: ${name}`)
      if (Array.isArray(value) && name !== 'Failed-AVP' && name !== 'Proxy-Info') walk(value)
    }
  }
  walk(avps)
  return found
}
