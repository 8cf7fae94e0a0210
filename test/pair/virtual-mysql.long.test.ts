/** Virtual libraries on MariaDB. The rules are the same: in the long run alone. */

import { virtualSuite } from '../support/virtual-suite.js'

virtualSuite('mysql')
