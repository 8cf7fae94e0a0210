/** Head moves on MariaDB. The rules are the same: in the long run alone. */

import { headMovesSuite } from '../support/head-moves-suite.js'

headMovesSuite('mysql')
