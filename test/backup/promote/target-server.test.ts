/** Which dumps a server can take. */

import t from 'tap'
import { unlikeServer } from '../../../src/backup/promote/target-server.js'

t.test('target server: of another kind, or older, it cannot take the dump, and both are named', async t => {
  t.match(
    unlikeServer('8.0.36', '10.11.6-MariaDB-log'),
    /of 8\.0\.36, .*10\.11\.6-MariaDB-log, of another kind.*MySQL here/,
  )
  t.match(unlikeServer('11.4.2-MariaDB', '8.4.0'), /of another kind.*Install MariaDB here/)
  t.match(unlikeServer('11.4.2-MariaDB', '10.6.1-MariaDB'), /older.*Install 11 here/)
  t.match(unlikeServer('8.0.36-0ubuntu0.22.04.1', '5.7.44'), /older/)
})

t.test('target server: of the same kind and as new or newer it can; of what nobody knows nothing is said', async t => {
  t.equal(unlikeServer('10.3.39-MariaDB', '11.4.2-MariaDB'), null)
  t.equal(unlikeServer('8.0.36', '8.4.0'), null)
  t.equal(unlikeServer('10.11.6-MariaDB', '10.5.1-MariaDB'), null)
  t.equal(unlikeServer('', '10.5.1-MariaDB'), null)
  t.equal(unlikeServer('something', 'else'), null)
})
