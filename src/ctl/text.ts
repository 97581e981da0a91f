/**
 * Answers as text: tables and lists of names with values. Much of it was said by a gateway (Origin-Host, Product-Name, Session-Id):
 * no terminal obeys it, and nothing breaks a line.
 */
import { printable } from '../diameter/print.js'

/** Columns as wide as their widest cell. */
export function table(head: readonly string[], given: readonly (readonly string[])[]): string {
  const rows = given.map(row => row.map(printable))
  const widths = head.map((name, column) => Math.max(name.length, ...rows.map(row => row[column]!.length)))
  return [head, ...rows]
    .map(row =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** A line each, values aligned. */
export function pairs(of: Readonly<Record<string, string>>): string {
  const width = Math.max(...Object.keys(of).map(name => name.length))
  return Object.entries(of)
    .map(([name, value]) => `${name.padEnd(width)}  ${printable(value)}`.trimEnd())
    .join('\n')
}
