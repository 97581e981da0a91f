/** Answers as text. */
import t from 'tap'
import { pairs, table } from '../../src/ctl/text.js'

t.test('what a gateway said neither moves the cursor nor breaks a line', t => {
  t.equal(
    table(
      ['host', 'product'],
      [
        ['evil\u001b[2J', 'x'],
        ['pgw1', 'two\nlines'],
      ],
    ),
    ['host           product', 'evil\\u{1b}[2J  x', 'pgw1           two\\u{a}lines'].join('\n'),
  )
  t.equal(pairs({ 'Product-Name': '\u009b31mred', from: '' }), 'Product-Name  \\u{9b}31mred\nfrom')
  t.end()
})
