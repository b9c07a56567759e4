mod folder;
mod judges;
mod leaves;
mod seal;
