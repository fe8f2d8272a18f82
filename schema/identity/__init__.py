"""Who somebody is, once it is proven: principals, their keys and accounts, and the transaction that speaks for one."""
