/** The errno values that are spoken of above the schemes; the same on every Linux. */

export const EPERM = 1;
export const EINTR = 4;
export const EBADF = 9;
export const ENOMEM = 12;
export const ENFILE = 23;
export const EACCES = 13;
export const EMFILE = 24;
export const EFAULT = 14;
export const ESPIPE = 29;
export const EINVAL = 22;
export const EOPNOTSUPP = 95;
export const ECANCELED = 125;
