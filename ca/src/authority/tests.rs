mod folder;
mod judges;
mod leaves;
mod offline;
mod refused;
mod seal;
